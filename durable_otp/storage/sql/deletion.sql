-- What is removed for ever: whole families of executions, and what processes leave behind.

-- name: old_roots
-- The next roots of one status, from the longest ended on. In the order of the index, from a place
-- in it: families that are held back by a young descendant do not stand in the way of others.
SELECT id::text, completed_at
FROM durable.workflow_executions
WHERE parent_id IS NULL AND completed_at IS NOT NULL AND status = %(status)s
  AND completed_at < %(cutoff)s::timestamptz
  AND (%(after_id)s::uuid IS NULL
       OR (completed_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid))
ORDER BY completed_at, id
LIMIT %(limit)s;

-- name: lock_old_roots
-- The same, locked. Who holds one of them is about to change it, so it is left out.
SELECT id::text, completed_at
FROM durable.workflow_executions
WHERE parent_id IS NULL AND completed_at IS NOT NULL AND status = %(status)s
  AND completed_at < %(cutoff)s::timestamptz
  AND (%(after_id)s::uuid IS NULL
       OR (completed_at, id) > (%(after)s::timestamptz, %(after_id)s::uuid))
ORDER BY completed_at, id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: whole_families
-- Everybody in the families of these roots in which all have ended, and long enough ago.
WITH RECURSIVE family AS (
    SELECT e.id AS root, e.id, e.completed_at
    FROM durable.workflow_executions e WHERE e.id = ANY(%(roots)s::uuid[])
    UNION ALL
    SELECT family.root, child.id, child.completed_at
    FROM family JOIN durable.workflow_executions child ON child.parent_id = family.id
)
SELECT root::text, array_agg(id::text) AS members
FROM family
GROUP BY root
HAVING bool_and(completed_at IS NOT NULL AND completed_at < %(cutoff)s::timestamptz);

-- name: delete_families
-- Nobody can bring a member back to life: that would need the root, which this transaction has
-- locked. The foreign key to the parent is checked when all of them are gone.
DELETE FROM durable.workflow_executions WHERE id = ANY(%(members)s::uuid[]) RETURNING id::text;

-- name: forget_commands
DELETE FROM durable.commands
WHERE coalesce(finished_at, deadline_at) < durable.now() - make_interval(secs => %(silent_for)s);

-- name: forget_silent_managers
-- The dead are removed when their claims are taken back; this is what nobody watched die.
DELETE FROM durable.queue_managers m
WHERE m.seen_at < durable.now() - make_interval(secs => %(silent_for)s)
  AND NOT EXISTS (SELECT FROM durable.workflow_executions e
                  WHERE e.locked_by = m.id);

-- name: forget_silent_nodes
DELETE FROM durable.nodes n
WHERE n.seen_at < durable.now() - make_interval(secs => %(silent_for)s)
  AND NOT EXISTS (SELECT FROM durable.queue_managers m WHERE m.node_id = n.id)
  AND NOT EXISTS (SELECT FROM durable.queues q WHERE q.node_id = n.id);

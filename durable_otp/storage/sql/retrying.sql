-- An operator has an execution go on that had ended. Everything here runs in one transaction, under
-- the locks that the first two statements and `lock_open_children` take: ancestor before descendant.

-- name: lock_parent
-- Whether the child's part of its parent is over already: the parent itself, or the block.
SELECT parent.id::text, parent.status,
       child.parent_index IS NOT NULL AND EXISTS (
           SELECT FROM durable.step_executions s
           WHERE s.execution_id = parent.id AND s.path = child.parent_path
             AND s.visit = child.parent_visit AND s.status = 'completed' AND NOT s.is_compensation
       ) AS block_completed
FROM durable.workflow_executions child
JOIN durable.workflow_executions parent ON parent.id = child.parent_id
WHERE child.id = %(id)s::uuid
FOR UPDATE OF parent;

-- name: lock_open_children
-- The ended children of the blocks that these executions have opened and not completed.
SELECT child.id::text, child.status
FROM durable.workflow_executions child
WHERE child.parent_id = ANY(%(parents)s::uuid[]) AND child.parent_index IS NOT NULL
  AND child.status IN ('failed', 'cancelled', 'compensated', 'compensation_failed')
  AND EXISTS (
      SELECT FROM durable.fan_outs f
      WHERE f.execution_id = child.parent_id AND f.path = child.parent_path
        AND f.visit = child.parent_visit)
  AND NOT EXISTS (
      SELECT FROM durable.step_executions s
      WHERE s.execution_id = child.parent_id AND s.path = child.parent_path
        AND s.visit = child.parent_visit AND s.status = 'completed' AND NOT s.is_compensation)
ORDER BY child.id
FOR UPDATE OF child;

-- name: live_descendants
SELECT descendants.root::text AS id, member.id::text AS descendant, member.status
FROM (
    WITH RECURSIVE family AS (
        SELECT root, root AS id FROM unnest(%(ids)s::uuid[]) AS root
        UNION ALL
        SELECT family.root, child.id
        FROM family JOIN durable.workflow_executions child ON child.parent_id = family.id
    )
    SELECT root, id FROM family WHERE id <> root
) AS descendants
JOIN durable.workflow_executions member USING (id)
WHERE member.completed_at IS NULL
ORDER BY member.id
LIMIT 1;

-- name: delete_descendants
-- The foreign keys are checked when the statement ends, so one statement takes every generation.
WITH RECURSIVE family AS (
    SELECT child.id FROM durable.workflow_executions child
    WHERE child.parent_id = ANY(%(ids)s::uuid[])
    UNION ALL
    SELECT child.id
    FROM family JOIN durable.workflow_executions child ON child.parent_id = family.id
)
DELETE FROM durable.workflow_executions e USING family WHERE e.id = family.id;

-- name: forget_journal
DELETE FROM durable.step_executions WHERE execution_id = ANY(%(ids)s::uuid[]);

-- name: forget_blocks
DELETE FROM durable.fan_outs WHERE execution_id = ANY(%(ids)s::uuid[]);

-- name: forget_once_results
DELETE FROM durable.once_results WHERE execution_id = ANY(%(ids)s::uuid[]);

-- name: free_events
-- What an unfinished wait had consumed is there again for the wait that is asked afresh.
UPDATE durable.events e
SET consumed_at = NULL, consumed_by = NULL
FROM durable.waits w
WHERE e.consumed_by = w.id AND w.execution_id = ANY(%(ids)s::uuid[])
  AND w.status <> 'answered' AND NOT (w.kind = 'sleep' AND w.due_at <= durable.now())
  AND NOT EXISTS (
      SELECT FROM durable.step_executions s
      WHERE s.execution_id = w.execution_id AND s.path = w.path AND s.visit = w.visit
        AND s.status = 'completed' AND NOT s.is_compensation);

-- name: keep_called_children
-- A called workflow that has completed, or still runs, is not called a second time.
UPDATE durable.waits w
SET status = CASE WHEN child.completed_at IS NULL THEN 'open' ELSE 'answered' END,
    answered_at = child.completed_at
FROM durable.workflow_executions child
WHERE child.id = w.child_id AND w.execution_id = ANY(%(ids)s::uuid[])
  AND w.status IN ('open', 'cancelled')
  AND child.status IN ('pending', 'running', 'waiting', 'completed');

-- name: forget_unanswered_waits
-- What a visit that goes on had asked in vain is asked afresh; a sleep is answered by the clock.
DELETE FROM durable.waits w
WHERE w.execution_id = ANY(%(ids)s::uuid[])
  AND NOT (w.status = 'open' AND EXISTS (
      SELECT FROM durable.workflow_executions child
      WHERE child.id = w.child_id AND child.status IN ('pending', 'running', 'waiting')))
  AND w.status <> 'answered' AND NOT (w.kind = 'sleep' AND w.due_at <= durable.now())
  AND NOT EXISTS (
      SELECT FROM durable.step_executions s
      WHERE s.execution_id = w.execution_id AND s.path = w.path AND s.visit = w.visit
        AND s.status = 'completed' AND NOT s.is_compensation);

-- name: free_all_events
UPDATE durable.events SET consumed_at = NULL, consumed_by = NULL
WHERE execution_id = ANY(%(ids)s::uuid[]) AND consumed_at IS NOT NULL;

-- name: forget_waits
DELETE FROM durable.waits WHERE execution_id = ANY(%(ids)s::uuid[]);

-- name: run_handlers_again
-- A handler's last failed attempt says that it gave up, and an operator says that it does not.
UPDATE durable.step_executions
SET compensation = NULL
WHERE execution_id = ANY(%(ids)s::uuid[]) AND is_compensation AND status = 'failed'
  AND compensation IS NOT NULL;

-- name: retry_executions
-- move: retry
-- `at` is not before the end that is undone, though this transaction may have begun before it: the
-- attempts recorded with that end must not count any more. A deadline begins anew, the same for the
-- children of its blocks, as when they were made.
WITH given AS (
    SELECT greatest(durable.now(), completed_at)
           + (deadline_at - coalesce(retried_at, inserted_at)) AS deadline_at
    FROM durable.workflow_executions WHERE id = %(id)s::uuid
), retried AS (
    UPDATE durable.workflow_executions e
    SET status = CASE e.status WHEN 'compensation_failed' THEN 'compensating' ELSE 'pending' END,
        error = CASE e.status WHEN 'compensation_failed' THEN e.error END,
        compensation_results = CASE e.status
            WHEN 'compensation_failed' THEN jsonb_path_query_array(
                e.compensation_results, '$[*] ? (@.status != "failed")')
            ELSE '[]' END,
        result = NULL, completed_at = NULL, scheduled_at = durable.now(),
        retried_at = ended.at, updated_at = durable.now(),
        deadline_at = given.deadline_at,
        crash_streak = 0, crash_position = -1, interruptions = 0, interruption_position = -1
    FROM (SELECT id, greatest(durable.now(), completed_at) AS at
          FROM durable.workflow_executions WHERE id = ANY(%(ids)s::uuid[])) AS ended,
         given
    WHERE e.id = ended.id
      AND e.status IN ('failed', 'cancelled', 'compensated', 'compensation_failed')
    RETURNING e.id, e.queue
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM retried) q
)
SELECT r.id::text, (SELECT count(*) FROM told) AS told FROM retried r;

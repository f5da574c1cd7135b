-- The processes that share the work: nodes (one row a root), queue managers (one row an
-- incarnation), what operators set for queues, and what they command.

-- name: beat_manager
-- A manager that was given up for dead while it could not speak comes back with this.
INSERT INTO durable.queue_managers (id, node_id, queue, beat, started_at, seen_at)
VALUES (%(id)s, %(node_id)s, %(queue)s, %(beat)s, durable.now(), durable.now())
ON CONFLICT (id) DO UPDATE SET beat = excluded.beat, seen_at = excluded.seen_at;

-- name: forget_managers
DELETE FROM durable.queue_managers WHERE id = ANY(%(ids)s::text[]);

-- name: manager_beats
SELECT id, beat FROM durable.queue_managers;

-- name: predecessors
-- The earlier incarnations of one manager's place: their root restarted them, so they are dead.
SELECT id FROM durable.queue_managers
WHERE node_id = %(node_id)s AND queue = %(queue)s AND id <> %(id)s;

-- name: publish_node
INSERT INTO durable.nodes
    (id, name, hostname, pid, beat, tree, workflows, node_timeout, started_at, seen_at)
VALUES (%(id)s, %(name)s, %(hostname)s, %(pid)s, %(beat)s, %(tree)s::jsonb, %(workflows)s::jsonb,
        %(node_timeout)s, durable.now(), durable.now())
ON CONFLICT (id) DO UPDATE
SET beat = excluded.beat, pid = excluded.pid, tree = excluded.tree,
    workflows = excluded.workflows, node_timeout = excluded.node_timeout,
    seen_at = excluded.seen_at
RETURNING coalesce(watched_until > durable.now(), false) AS is_watched;

-- name: node_beats
SELECT id, beat FROM durable.nodes;

-- name: watch_nodes
-- Somebody looks at the trees for the next seconds. A node that did not know is told.
WITH before AS (
    SELECT id, coalesce(watched_until > durable.now(), false) AS is_watched
    FROM durable.nodes ORDER BY id FOR NO KEY UPDATE
), watched AS (
    UPDATE durable.nodes n
    SET watched_until = durable.now() + make_interval(secs => %(seconds)s)
    FROM before WHERE n.id = before.id
    RETURNING n.id, before.is_watched
)
SELECT pg_notify('durable:command', id) FROM watched WHERE NOT is_watched;

-- name: withdraw_nodes
DELETE FROM durable.nodes WHERE id = ANY(%(ids)s::text[]);

-- name: forget_nodes
-- With what was set for them alone. What they were ordered to do and have not answered is answered
-- for them: nobody took it, or nobody knows how far it came.
WITH gone AS (
    DELETE FROM durable.nodes WHERE id = ANY(%(ids)s::text[])
), unanswered AS (
    UPDATE durable.commands
    SET status = CASE status WHEN 'requested' THEN 'expired' ELSE 'unknown' END,
        outcome = 'The node has ended.', finished_at = durable.now()
    WHERE node_id = ANY(%(ids)s::text[]) AND status IN ('requested', 'accepted')
), ended AS (
    UPDATE durable.process_lives
    SET ended_at = durable.now(), reason = 'ended with its node'
    WHERE node_id = ANY(%(ids)s::text[]) AND ended_at IS NULL
)
DELETE FROM durable.queues WHERE node_id = ANY(%(ids)s::text[]);

-- name: live_nodes
-- The trees of the nodes heard of lately; a reader has no history to judge beats by, and a wrong
-- guess here costs a line on a screen.
SELECT id, name, hostname, pid, tree, workflows, started_at, seen_at
FROM durable.nodes
WHERE seen_at > durable.now() - make_interval(secs => node_timeout)
ORDER BY hostname, started_at;

-- name: silent_nodes
-- The nodes that have not been heard of for longer than they said: lost, until they are given up.
SELECT id, name, hostname, pid, tree, workflows, started_at, seen_at
FROM durable.nodes
WHERE seen_at <= durable.now() - make_interval(secs => node_timeout)
ORDER BY seen_at DESC LIMIT 20;

-- name: set_queue
INSERT INTO durable.queues (queue, node_id, paused, concurrency, updated_at)
VALUES (%(queue)s, %(node_id)s, coalesce(%(paused)s, false), %(concurrency)s, durable.now())
ON CONFLICT (queue, node_id) DO UPDATE
SET paused = coalesce(%(paused)s, queues.paused),
    concurrency = coalesce(%(concurrency)s, queues.concurrency),
    updated_at = durable.now()
RETURNING pg_notify('durable:command', '');

-- name: unset_own_queue
-- An order to all nodes holds for those too that were ordered something else before.
UPDATE durable.queues
SET paused = paused AND %(paused)s::boolean IS DISTINCT FROM false,
    concurrency = CASE WHEN %(concurrency)s::integer IS NULL THEN concurrency END,
    updated_at = durable.now()
WHERE queue = %(queue)s AND node_id <> '';

-- name: queue_settings
-- What holds for a queue on a node: paused if either says so, the node's own number before all's.
SELECT coalesce(bool_or(paused), false) AS paused,
       coalesce(max(concurrency) FILTER (WHERE node_id <> ''),
                max(concurrency) FILTER (WHERE node_id = '')) AS concurrency,
       EXISTS (SELECT FROM durable.queue_limits l WHERE l.queue = %(queue)s) AS is_limited
FROM durable.queues
WHERE queue = %(queue)s AND node_id IN ('', %(node_id)s);

-- name: all_queue_settings
SELECT queue, node_id, paused, concurrency FROM durable.queues ORDER BY queue, node_id;

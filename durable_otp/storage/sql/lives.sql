-- The lives of processes: a row each, written by the registrar of their node when one begins or ends.

-- name: record_lives
-- What has begun, is ready or has ended; a repetition changes nothing. Those that ended longest ago
-- make room.
WITH given AS (
    SELECT life.*
    FROM jsonb_to_recordset(%(lives)s::jsonb) AS life (
        id uuid, path text, role text, queue text, pid integer, restarts integer,
        started_at timestamptz, is_ready boolean, reason text, execution_id uuid, step text)
), pruned AS (
    DELETE FROM durable.process_lives
    WHERE ended_at IS NOT NULL AND id < (
        SELECT newest.id FROM durable.process_lives newest ORDER BY newest.id DESC
        OFFSET %(most)s LIMIT 1)
)
INSERT INTO durable.process_lives AS life
    (id, node_id, path, role, queue, pid, restarts, started_at, ready_at, ended_at, reason,
     execution_id, step)
SELECT given.id, %(node_id)s, given.path, given.role, given.queue, given.pid, given.restarts,
       coalesce(given.started_at, durable.now()),
       CASE WHEN given.is_ready THEN durable.now() END,
       CASE WHEN given.reason IS NOT NULL THEN durable.now() END,
       given.reason, given.execution_id, given.step
FROM given ORDER BY given.id
ON CONFLICT (id) DO UPDATE
SET ready_at = coalesce(life.ready_at, excluded.ready_at),
    ended_at = coalesce(life.ended_at, excluded.ended_at),
    reason = coalesce(life.reason, excluded.reason),
    execution_id = excluded.execution_id, step = excluded.step;

-- name: open_lives
SELECT id::text, path, role, queue, pid, restarts, started_at, ready_at IS NOT NULL AS is_ready
FROM durable.process_lives
WHERE node_id = %(node_id)s AND ended_at IS NULL;

-- name: lives
-- The newest lives, of one node or one place in its tree; `after`: behind this one.
SELECT l.id::text, l.node_id, l.path, l.role, l.queue, l.pid, l.restarts, l.started_at, l.ready_at,
       l.ended_at, l.reason, l.execution_id::text, l.step
FROM durable.process_lives l
WHERE (%(node_id)s::text IS NULL OR l.node_id = %(node_id)s)
  AND (%(path)s::text IS NULL OR l.path = %(path)s)
  AND (%(after)s::uuid IS NULL OR l.id < %(after)s::uuid)
ORDER BY l.id DESC
LIMIT %(limit)s;

-- name: last_words
-- What was printed last by those who died at a step: the logs of the attempt that their manager
-- recorded for them, the one nearest to their end.
SELECT dead.id::text, said.logs
FROM unnest(%(ids)s::uuid[], %(execution_ids)s::uuid[], %(steps)s::text[], %(ends)s::timestamptz[],
            %(processes)s::text[]) AS dead (id, execution_id, step, ended_at, process)
CROSS JOIN LATERAL (
    SELECT s.logs FROM durable.step_executions s
    WHERE s.execution_id = dead.execution_id AND s.path = dead.step AND s.status = 'failed'
      AND (s.process = dead.process OR s.process IS NULL)
    ORDER BY abs(extract(epoch FROM s.completed_at - dead.ended_at)), s.id
    LIMIT 1
) AS said;

-- name: lives_just_ended
SELECT l.id::text, l.node_id, l.path, l.role, l.queue, l.pid, l.restarts, l.started_at, l.ready_at,
       l.ended_at, l.reason, l.execution_id::text, l.step
FROM durable.process_lives l
WHERE l.ended_at > durable.now() - make_interval(secs => %(seconds)s)
ORDER BY l.ended_at DESC, l.id DESC
LIMIT %(limit)s;

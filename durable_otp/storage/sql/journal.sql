-- The journal: what a running worker writes. Every statement holds only under its lock token; the
-- row ids are made before the first try, so a repetition after a lost answer finds its own row.

-- name: journal_since_snapshot
-- The completed steps from the newest snapshot on, oldest first: at most a hundred or so.
SELECT position, path, visit, changes, snapshot, next_path, jumps
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND status = 'completed' AND NOT is_compensation
  AND position >= coalesce((SELECT max(s.position) FROM durable.step_executions s
                            WHERE s.execution_id = %(id)s::uuid AND s.snapshot IS NOT NULL), 0)
ORDER BY position;

-- name: visits_of
-- How often each path was completed before: the next visit's number is one more.
SELECT path, max(visit) AS visit
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND status = 'completed' AND path = %(path)s
GROUP BY path;

-- name: attempts_of
SELECT count(*)::integer AS recorded,
       count(*) FILTER (WHERE error ->> 'type' IS DISTINCT FROM 'worker_crashed')::integer AS failed
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s AND status = 'failed'
  AND NOT is_compensation;

-- name: waits_of
-- What this visit has asked so far. A sleep is answered by the clock alone.
SELECT ordinal, kind, names, answer,
       CASE WHEN kind = 'sleep' AND due_at <= durable.now() THEN 'answered' ELSE status END AS status
FROM durable.waits
WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s
ORDER BY ordinal;

-- name: checkpoint
-- fenced
-- The workflow row is locked, not written: a claim that was lost meanwhile writes nothing.
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, output, changes, snapshot,
     next_path, jumps, compensation, logs, started_at, completed_at, duration_ms)
SELECT %(step_id)s::uuid, held.id, %(position)s, %(path)s, %(name)s, %(type)s, %(visit)s, %(attempt)s,
       'completed', %(output)s::jsonb, %(changes)s::jsonb, %(snapshot)s::jsonb, %(next_path)s,
       %(jumps)s, %(compensation)s, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       (%(duration)s * 1000)::integer
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING id;

-- name: complete
-- move: complete
-- fenced
-- The last checkpoint and the end, in one statement.
WITH done AS (
    UPDATE durable.workflow_executions
    SET status = 'completed', completed_at = durable.now(), updated_at = durable.now(),
        current_step = NULL, lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id, watched, parent_id
), last AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, output, changes,
         snapshot, next_path, compensation, logs, started_at, completed_at, duration_ms)
    SELECT %(step_id)s::uuid, done.id, %(position)s, %(path)s, %(name)s, %(type)s, %(visit)s,
           %(attempt)s, 'completed', %(output)s::jsonb, %(changes)s::jsonb, %(snapshot)s::jsonb, NULL,
           %(compensation)s, %(logs)s::jsonb, durable.now() - make_interval(secs => %(duration)s), durable.now(),
           (%(duration)s * 1000)::integer
    FROM done
)
SELECT id::text, parent_id::text, CASE WHEN watched THEN pg_notify('durable:done', id::text) END
FROM done;

-- name: record_failed_attempt
-- fenced
-- An attempt failed and the next follows in the same worker.
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, error, logs, started_at,
     completed_at, duration_ms)
SELECT %(step_id)s::uuid, held.id, %(position)s, %(path)s, %(name)s, %(type)s, %(visit)s, %(attempt)s,
       'failed', %(error)s::jsonb, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       (%(duration)s * 1000)::integer
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING id;

-- name: retry_later
-- move: retry_later
-- fenced
-- An attempt failed and the next waits in the database: the slot is given back, and the retry
-- survives any crash.
WITH held AS (
    UPDATE durable.workflow_executions
    SET status = 'pending', scheduled_at = durable.now() + make_interval(secs => %(delay)s),
        updated_at = durable.now(), current_step = %(path)s,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id
)
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, error, logs, started_at,
     completed_at, duration_ms)
SELECT %(step_id)s::uuid, held.id, %(position)s, %(path)s, %(name)s, %(type)s, %(visit)s, %(attempt)s,
       'failed', %(error)s::jsonb, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       (%(duration)s * 1000)::integer
FROM held
RETURNING id;

-- name: fail
-- move: fail, compensate
-- fenced
-- The last attempt failed, or the execution cannot go on at all (then no attempt is given). What has
-- something to undo is claimed for that by its home queue.
WITH held AS MATERIALIZED (
    SELECT e.id FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
    FOR UPDATE OF e
), decided AS MATERIALIZED (
    SELECT held.id, durable.failed_status(held.id) AS failed_status FROM held
), done AS (
    UPDATE durable.workflow_executions e
    SET status = decided.failed_status, error = %(error)s::jsonb, updated_at = durable.now(),
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        scheduled_at = CASE decided.failed_status WHEN 'failed' THEN e.scheduled_at
                                                  ELSE durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        current_step = %(path)s,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id
), attempt AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, error, logs,
         started_at, completed_at, duration_ms)
    SELECT %(step_id)s::uuid, done.id, %(position)s, %(path)s, %(name)s, %(type)s, %(visit)s,
           %(attempt)s, 'failed', %(error)s::jsonb, %(logs)s::jsonb,
           durable.now() - make_interval(secs => %(duration)s), durable.now(),
           (%(duration)s * 1000)::integer
    FROM done
    WHERE %(attempt)s::integer IS NOT NULL
)
SELECT id::text, status, CASE WHEN status = 'failed' THEN parent_id::text END AS parent_id,
       CASE WHEN status = 'compensating' THEN pg_notify('durable:queue', queue)
            WHEN watched THEN pg_notify('durable:done', id::text) END
FROM done;

-- name: move
-- move: release
-- fenced
-- The next step asks for another queue, or goes back to where the execution was started.
WITH moved AS (
    UPDATE durable.workflow_executions
    SET status = 'pending', home_queue = coalesce(home_queue, queue), queue = %(queue)s,
        scheduled_at = durable.now(), updated_at = durable.now(), current_step = %(path)s,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id, queue
)
SELECT id::text, pg_notify('durable:queue', queue) FROM moved;

-- name: suspend
-- move: suspend
-- fenced
-- The waits that were asked for, and the lock given back, together. A wait that an earlier run of
-- the body asked for already keeps its due time. Only a sleep wakes by the clock (scheduled_at).
WITH asked AS (
    SELECT asked.*, durable.now() + make_interval(secs => asked.seconds) AS due
    FROM unnest(%(wait_ids)s::uuid[], %(ordinals)s::integer[], %(kinds)s::text[],
                %(seconds)s::double precision[], %(instants)s::timestamptz[])
         AS asked (wait_id, ordinal, kind, seconds, instant)
), due AS (
    SELECT asked.*, coalesce(earlier.due_at, asked.instant, asked.due) AS due_at
    FROM asked
    LEFT JOIN durable.waits earlier
        ON earlier.execution_id = %(id)s::uuid AND earlier.path = %(path)s
       AND earlier.visit = %(visit)s AND earlier.ordinal = asked.ordinal
), held AS (
    UPDATE durable.workflow_executions
    SET status = 'waiting', current_step = %(path)s, updated_at = durable.now(),
        scheduled_at = (SELECT min(due_at) FROM due WHERE kind = 'sleep'),
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id
), kept AS (
    INSERT INTO durable.waits (id, execution_id, path, visit, ordinal, kind, due_at, created_at)
    SELECT due.wait_id, held.id, %(path)s, %(visit)s, due.ordinal, due.kind, due.due_at, durable.now()
    FROM held CROSS JOIN due
    ON CONFLICT (execution_id, path, visit, ordinal) DO NOTHING
)
SELECT id::text, pg_notify('durable:sleep', '') FROM held;

-- name: step_is_recorded
-- Whether an earlier try had been committed; if it ended the execution, whose child that was.
SELECT e.id::text, e.status, CASE WHEN e.completed_at IS NOT NULL THEN e.parent_id::text END AS parent_id
FROM durable.step_executions s
JOIN durable.workflow_executions e ON e.id = s.execution_id
WHERE s.id = %(step_id)s::uuid;

-- name: wait_is_recorded
SELECT EXISTS (SELECT FROM durable.waits WHERE id = ANY(%(wait_ids)s::uuid[])) AS recorded;

-- name: database_now
SELECT durable.now() AS now;

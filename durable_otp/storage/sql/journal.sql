-- The journal: what a running worker writes. Every statement holds only under its lock token; the
-- row ids are made before the first try, so a repetition after a lost answer finds its own row.

-- name: journal_since_snapshot
-- fenced
-- The completed steps from the newest snapshot on, oldest first: at most a hundred or so. For a claim
-- that is lost there is no row at all, and for a new execution one without a position: a worker that
-- was held up must not begin the step after one that somebody else has completed meanwhile.
SELECT s.position, s.path, s.visit, s.changes, s.snapshot, s.next_path, s.jumps
FROM durable.workflow_executions e
LEFT JOIN durable.step_executions s
  ON s.execution_id = %(id)s::uuid AND s.status = 'completed' AND NOT s.is_compensation
 AND s.position >= coalesce((SELECT max(n.position) FROM durable.step_executions n
                             WHERE n.execution_id = %(id)s::uuid AND n.snapshot IS NOT NULL), 0)
WHERE e.id = %(id)s::uuid
  AND (%(lock_token)s::uuid IS NULL OR e.lock_token = %(lock_token)s::uuid)
ORDER BY s.position;

-- name: visits_of
-- How often each path was completed before: the next visit's number is one more.
SELECT path, max(visit) AS visit
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND status = 'completed' AND path = %(path)s
GROUP BY path;

-- name: attempts_of
-- What failed before an operator's retry is recorded and uses up nothing any more.
SELECT count(*)::integer AS recorded,
       count(*) FILTER (
           WHERE error ->> 'type' IS DISTINCT FROM 'worker_crashed'
             AND completed_at > coalesce((SELECT e.retried_at FROM durable.workflow_executions e
                                          WHERE e.id = %(id)s::uuid), '-infinity')
       )::integer AS failed
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s AND status = 'failed'
  AND NOT is_compensation;

-- name: waits_of
-- What this visit has asked so far. A sleep is answered by the clock alone.
SELECT ordinal, kind, names, attempt, answer, has_timeout_value, timeout_value,
       status = 'open' AS is_open,
       CASE WHEN kind = 'sleep' AND due_at <= durable.now() THEN 'answered' ELSE status END AS status
FROM durable.waits
WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s
ORDER BY ordinal;

-- name: checkpoint
-- fenced
-- payload: output, changes, snapshot, results, logs
-- The workflow row is locked, not written: a claim that was lost meanwhile writes nothing.
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, output, changes, snapshot,
     results, next_path, jumps, compensation, logs, started_at, completed_at, duration_ms,
     cpu_seconds, peak_rss, process)
SELECT %(step_id)s::uuid, held.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
       %(visit)s::integer, %(attempt)s::integer, 'completed', %(output)s::jsonb,
       %(changes)s::jsonb, %(snapshot)s::jsonb, %(results)s::jsonb,
       %(next_path)s, %(jumps)s, %(compensation)s, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       least(%(duration)s * 1000, 2147483647)::integer,
       %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING id;

-- name: complete
-- move: complete
-- fenced
-- payload: output, changes, snapshot, results, logs, result
-- The last checkpoint and the end, in one statement.
WITH done AS (
    UPDATE durable.workflow_executions
    SET status = 'completed', completed_at = durable.now(), updated_at = durable.now(),
        current_step = NULL, lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL,
        result = %(result)s::jsonb
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id, watched, parent_id
), last AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, output, changes,
         snapshot, results, next_path, jumps, compensation, logs, started_at, completed_at,
         duration_ms, cpu_seconds, peak_rss, process)
    SELECT %(step_id)s::uuid, done.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
           %(visit)s::integer, %(attempt)s::integer, 'completed', %(output)s::jsonb,
           %(changes)s::jsonb, %(snapshot)s::jsonb, %(results)s::jsonb, NULL, %(jumps)s::integer,
           %(compensation)s, %(logs)s::jsonb,
           durable.now() - make_interval(secs => %(duration)s), durable.now(),
           least(%(duration)s * 1000, 2147483647)::integer,
           %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s
    FROM done
)
SELECT id::text, parent_id::text, CASE WHEN watched THEN pg_notify('durable:done', id::text) END
FROM done;

-- name: record_failed_attempt
-- fenced
-- payload: error, logs
-- An attempt failed and the next follows in the same worker.
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, error, logs, started_at,
     completed_at, duration_ms, cpu_seconds, peak_rss, process)
SELECT %(step_id)s::uuid, held.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
       %(visit)s::integer, %(attempt)s::integer, 'failed', %(error)s::jsonb, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       least(%(duration)s * 1000, 2147483647)::integer,
       %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING id;

-- name: retry_later
-- move: retry_later
-- fenced
-- payload: error, logs
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
     completed_at, duration_ms, cpu_seconds, peak_rss, process)
SELECT %(step_id)s::uuid, held.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
       %(visit)s::integer, %(attempt)s::integer, 'failed', %(error)s::jsonb, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       least(%(duration)s * 1000, 2147483647)::integer,
       %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s
FROM held
RETURNING id;

-- name: fail
-- move: fail, compensate
-- fenced
-- payload: error, logs
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
         started_at, completed_at, duration_ms, cpu_seconds, peak_rss, process)
    SELECT %(step_id)s::uuid, done.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
           %(visit)s::integer, %(attempt)s::integer, 'failed', %(error)s::jsonb, %(logs)s::jsonb,
           durable.now() - make_interval(secs => %(duration)s), durable.now(),
           least(%(duration)s * 1000, 2147483647)::integer,
           %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s
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
-- payload: waits
-- The waits that were asked for, and the lock given back, together. A wait that an earlier run of
-- the body asked for already keeps its due time and its question; one that timed out in an earlier
-- attempt, or was given up by a run that did not ask for it, is opened again. What is open and was
-- not asked for now is closed. Only a sleep wakes by the clock (scheduled_at).
WITH asked AS (
    SELECT asked.*, earlier.id AS earlier_id,
           coalesce(earlier.status IN ('timed_out', 'cancelled'), true) AS is_new,
           CASE WHEN earlier.id IS NULL
                     OR asked.kind <> 'sleep' AND earlier.status IN ('timed_out', 'cancelled')
                THEN coalesce(asked.at, durable.now() + make_interval(secs => asked.seconds))
                ELSE earlier.due_at END AS due_at,
           coalesce(earlier.created_at, durable.now()) AS first_asked_at
    FROM jsonb_to_recordset(%(waits)s::jsonb) AS asked (
        wait_id uuid, input_id uuid, ordinal integer, kind text, names jsonb,
        seconds double precision, at timestamptz, has_timeout_value boolean, timeout_value jsonb,
        on_timeout text, type text, prompt text, fields jsonb, choices jsonb, metadata jsonb)
    LEFT JOIN durable.waits earlier
        ON earlier.execution_id = %(id)s::uuid AND earlier.path = %(path)s
       AND earlier.visit = %(visit)s AND earlier.ordinal = asked.ordinal
), held AS (
    UPDATE durable.workflow_executions
    SET status = 'waiting', current_step = %(path)s, updated_at = durable.now(),
        scheduled_at = (SELECT min(due_at) FROM asked WHERE kind = 'sleep'),
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id
), opened AS (
    INSERT INTO durable.waits AS w
        (id, execution_id, path, visit, ordinal, kind, names, due_at, attempt, has_timeout_value,
         timeout_value, on_timeout, created_at)
    SELECT asked.wait_id, held.id, %(path)s, %(visit)s::integer, asked.ordinal, asked.kind,
           ARRAY(SELECT jsonb_array_elements_text(asked.names)), asked.due_at, %(attempt)s::integer,
           asked.has_timeout_value, asked.timeout_value, asked.on_timeout,
           CASE WHEN asked.is_new THEN durable.now() ELSE asked.first_asked_at END
    FROM held CROSS JOIN asked
    ON CONFLICT (execution_id, path, visit, ordinal) DO UPDATE
    SET status = 'open', due_at = EXCLUDED.due_at, attempt = EXCLUDED.attempt, answered_at = NULL,
        has_timeout_value = EXCLUDED.has_timeout_value, timeout_value = EXCLUDED.timeout_value,
        on_timeout = EXCLUDED.on_timeout, created_at = EXCLUDED.created_at
    WHERE w.status <> 'answered'
), questions AS (
    INSERT INTO durable.pending_inputs
        (id, execution_id, wait_id, name, type, prompt, fields, choices, metadata, on_timeout,
         timeout_at, timeout_value, created_at)
    SELECT asked.input_id, held.id, coalesce(asked.earlier_id, asked.wait_id), asked.names ->> 0,
           asked.type, asked.prompt, asked.fields, asked.choices, asked.metadata, asked.on_timeout,
           asked.due_at, asked.timeout_value, durable.now()
    FROM held CROSS JOIN asked
    WHERE asked.kind = 'input' AND asked.is_new
), closed AS (
    UPDATE durable.waits w
    SET status = CASE WHEN w.kind = 'sleep' AND w.due_at <= durable.now() THEN 'answered'
                      ELSE 'cancelled' END,
        answered_at = durable.now()
    FROM held
    WHERE w.execution_id = held.id AND w.status = 'open'
      AND NOT (w.path = %(path)s AND w.visit = %(visit)s
               AND w.ordinal IN (SELECT asked.ordinal FROM asked))
    RETURNING w.id
), withdrawn AS (
    UPDATE durable.pending_inputs i
    SET status = 'cancelled', completed_at = durable.now()
    FROM closed
    WHERE i.execution_id = %(id)s::uuid AND i.wait_id = closed.id AND i.status = 'open'
)
SELECT id::text,
       CASE WHEN EXISTS (SELECT FROM asked WHERE kind = 'sleep')
            THEN pg_notify('durable:sleep', '') END,
       CASE WHEN EXISTS (SELECT FROM asked WHERE kind <> 'sleep' AND due_at IS NOT NULL)
            THEN pg_notify('durable:timeout', '') END
FROM held;

-- name: close_waits
-- At a step's checkpoint: what its visit asked for and has not got is not waited for any more.
WITH closed AS (
    UPDATE durable.waits w
    SET status = CASE WHEN w.kind = 'sleep' AND w.due_at <= durable.now() THEN 'answered'
                      ELSE 'cancelled' END,
        answered_at = durable.now()
    WHERE w.execution_id = %(id)s::uuid AND w.path = %(path)s AND w.visit = %(visit)s
      AND w.status = 'open'
    RETURNING w.id
)
UPDATE durable.pending_inputs i
SET status = 'cancelled', completed_at = durable.now()
FROM closed
WHERE i.wait_id = closed.id AND i.status = 'open';

-- name: keep_transaction_open
-- A step's body may take as long as its timeout allows; the manager's claim is kept meanwhile.
SELECT set_config('idle_in_transaction_session_timeout', '0', true);

-- name: step_is_recorded
-- Whether an earlier try had been committed; if it ended the execution, whose child that was.
SELECT e.id::text, e.status, CASE WHEN e.completed_at IS NOT NULL THEN e.parent_id::text END AS parent_id
FROM durable.step_executions s
JOIN durable.workflow_executions e ON e.id = s.execution_id
WHERE s.execution_id = %(id)s::uuid AND s.id = %(step_id)s::uuid;

-- name: wait_is_recorded
SELECT EXISTS (SELECT FROM durable.waits WHERE id = ANY(%(wait_ids)s::uuid[])) AS recorded;

-- name: database_now
SELECT durable.now() AS now;

-- name: once_results_of
SELECT key, result
FROM durable.once_results
WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s;

-- name: keep_once_result
-- fenced
-- payload: result
-- The first result stays; whoever comes later, or repeats this, reads it.
INSERT INTO durable.once_results (execution_id, path, visit, key, result)
SELECT held.id, %(path)s, %(visit)s::integer, %(key)s, %(result)s::jsonb
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid
        AND e.status IN ('running', 'compensating')
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING key;

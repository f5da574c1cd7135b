-- Undoing what an execution has done after it has failed. The rows of its handlers lie in its own
-- journal, beside those of its steps: the same path and visit, `compensation_for` the path. A failed
-- attempt with `compensation` set is a handler's last: it has given up.

-- name: to_undo
-- fenced
-- The completed steps that are still to be undone, the newest first: its own, and those of the
-- children of its blocks that completed, or were cancelled on the way, all the way down. The one child of an each that runs the item of
-- an index is shown by that index. A child counts its visits by itself, so what children did at one
-- path is numbered here, in the order of completion; nothing is added to that any more. For a claim
-- that is lost there is nothing: another's handlers may have run meanwhile.
WITH RECURSIVE family AS (
    SELECT e.id, NULL::text AS block, NULL::integer AS index
    FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid
      AND (%(lock_token)s::uuid IS NULL OR e.lock_token = %(lock_token)s::uuid)
    UNION ALL
    SELECT child.id, child.parent_path, child.parent_index
    FROM family
    JOIN durable.workflow_executions child
        ON child.parent_id = family.id AND child.parent_index IS NOT NULL
       AND child.status IN ('completed', 'cancelled')
), done AS (
    SELECT step.execution_id, step.id, step.visit, step.compensation, step.completed_at, step.position,
           CASE WHEN step.path = family.block THEN step.path || '/' || family.index
                ELSE step.path END AS path
    FROM family
    JOIN durable.step_executions step ON step.execution_id = family.id
    WHERE step.compensation IS NOT NULL AND step.status = 'completed' AND NOT step.is_compensation
), numbered AS (
    SELECT done.execution_id, done.id, done.path, done.compensation, done.completed_at, done.position,
           CASE WHEN done.execution_id = %(id)s::uuid THEN done.visit
                ELSE row_number() OVER (PARTITION BY done.execution_id = %(id)s::uuid, done.path
                                        ORDER BY done.completed_at, done.position, done.id)
                END::integer AS visit
    FROM done
)
SELECT n.execution_id::text, n.path, n.visit, n.compensation,
       undone.recorded AS recorded_attempts, undone.failed AS failed_attempts,
       coalesce((SELECT max(s.position) FROM durable.step_executions s
                 WHERE s.execution_id = %(id)s::uuid), 0) AS last_position
FROM numbered n
CROSS JOIN LATERAL (
    SELECT count(*)::integer AS recorded,
           count(*) FILTER (
               WHERE s.error ->> 'type' IS DISTINCT FROM 'worker_crashed'
                 AND s.completed_at > (SELECT coalesce(e.retried_at, '-infinity')
                                       FROM durable.workflow_executions e
                                       WHERE e.id = %(id)s::uuid))::integer AS failed,
           count(*) FILTER (WHERE s.status = 'completed' OR s.compensation IS NOT NULL) AS ended
    FROM durable.step_executions s
    WHERE s.execution_id = %(id)s::uuid AND s.path = n.path AND s.visit = n.visit AND s.is_compensation
) AS undone
WHERE undone.ended = 0
ORDER BY n.completed_at DESC, n.position DESC, n.id DESC;

-- name: record_undone
-- fenced
-- payload: output, error, logs
-- A handler's end: `completed`, or failed, and then perhaps for good (`gave_up`).
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, output, error,
     is_compensation, compensation_for, compensation, logs, started_at, completed_at, duration_ms,
     cpu_seconds, peak_rss, process)
SELECT %(step_id)s::uuid, held.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
       %(visit)s::integer, %(attempt)s::integer,
       CASE WHEN %(error)s::jsonb IS NULL THEN 'completed' ELSE 'failed' END, %(output)s::jsonb,
       %(error)s::jsonb, true, %(path)s, CASE WHEN %(gave_up)s THEN %(name)s END, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       least(%(duration)s * 1000, 2147483647)::integer,
       %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s::text
FROM (SELECT e.id FROM durable.workflow_executions e
      WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'compensating'
      FOR SHARE) AS held
ON CONFLICT DO NOTHING
RETURNING execution_id::text AS id, 'compensating' AS status, NULL::text AS parent_id;

-- name: undo_later
-- move: retry_later
-- fenced
-- payload: error, logs
-- An attempt of a handler failed and the next waits in the database; the status stays.
WITH held AS (
    UPDATE durable.workflow_executions
    SET status = 'compensating', scheduled_at = durable.now() + make_interval(secs => %(delay)s),
        updated_at = durable.now(), lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'compensating'
    RETURNING id
)
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, error, is_compensation,
     compensation_for, logs, started_at, completed_at, duration_ms, cpu_seconds, peak_rss, process)
SELECT %(step_id)s::uuid, held.id, %(position)s::integer, %(path)s, %(name)s, %(type)s,
       %(visit)s::integer, %(attempt)s::integer,
       'failed', %(error)s::jsonb, true, %(path)s, %(logs)s::jsonb,
       durable.now() - make_interval(secs => %(duration)s), durable.now(),
       least(%(duration)s * 1000, 2147483647)::integer,
       %(cpu_seconds)s::real, %(peak_rss)s::bigint, %(process)s::text
FROM held
RETURNING execution_id::text AS id, 'compensating' AS status, NULL::text AS parent_id;

-- name: compensation_results
-- How each handler ended, in the order in which they ran.
SELECT s.path AS step, s.name AS compensation, s.status, s.error
FROM durable.step_executions s
WHERE s.execution_id = %(id)s::uuid AND s.is_compensation
  AND (s.status = 'completed' OR s.compensation IS NOT NULL)
ORDER BY s.position, s.completed_at, s.id;

-- name: end_compensation
-- move: finish_compensation, fail_compensation
-- fenced
-- payload: endings
UPDATE durable.workflow_executions
SET status = CASE WHEN %(has_failed)s THEN 'compensation_failed' ELSE 'compensated' END,
    compensation_results = %(endings)s::jsonb, completed_at = durable.now(),
    updated_at = durable.now(), lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'compensating'
RETURNING id::text, status, parent_id::text,
          CASE WHEN watched THEN pg_notify('durable:done', id::text) END;

-- name: settle_handler_crash
-- move: retry_later
-- fenced
-- payload: logs
-- A worker died in a handler: as settle_crash, but the last crash ends the handler and not the
-- execution. Those of a handler are its rows, for another handler's begin anew. What was printed
-- by an attempt that has its row already is not the next one's.
WITH held AS MATERIALIZED (
    SELECT e.* FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'compensating'
    FOR NO KEY UPDATE OF e
), counted AS (
    SELECT held.id, rows.*
    FROM held
    CROSS JOIN LATERAL (
        SELECT 1 + count(*) FILTER (
                   WHERE s.error ->> 'type' = 'worker_crashed' AND of_this
                     AND s.completed_at > coalesce(held.retried_at, '-infinity')) AS streak,
               1 + count(*) FILTER (WHERE s.status = 'failed' AND of_this) AS attempt,
               coalesce(bool_or(of_this AND (s.status = 'completed' OR s.compensation IS NOT NULL)),
                        false) AS finished,
               coalesce(max(s.position), 0) AS position
        FROM durable.step_executions s
        CROSS JOIN LATERAL (SELECT s.is_compensation AND s.path = %(path)s
                                   AND s.visit = %(visit)s AS of_this) AS mine
        WHERE s.execution_id = held.id
    ) AS rows
), settled AS (
    UPDATE durable.workflow_executions e
    SET status = 'compensating', crashes = e.crashes + 1, updated_at = durable.now(), begun = NULL,
        scheduled_at = CASE
            WHEN counted.streak = 1 OR counted.streak >= %(max_crashes)s OR counted.finished
            THEN e.scheduled_at
            ELSE durable.now() + make_interval(secs => least(
                30.0, %(backoff)s * power(2, least(counted.streak, 20) - 2))) END,
        lock_token = CASE
            WHEN counted.streak = 1 OR counted.streak >= %(max_crashes)s OR counted.finished
            THEN %(new_token)s::uuid END,
        locked_by = CASE
            WHEN counted.streak = 1 OR counted.streak >= %(max_crashes)s OR counted.finished
            THEN e.locked_by END,
        locked_at = CASE
            WHEN counted.streak = 1 OR counted.streak >= %(max_crashes)s OR counted.finished
            THEN durable.now() END
    FROM counted
    WHERE e.id = counted.id
    RETURNING e.id, e.status, e.crashes, e.scheduled_at, e.lock_token
), attempt AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, error,
         is_compensation, compensation_for, compensation, logs, started_at, completed_at,
         duration_ms, peak_rss, process)
    SELECT %(step_id)s::uuid, counted.id, counted.position + 1, %(path)s, %(name)s, 'compensation',
           %(visit)s::integer, greatest(%(attempt)s::integer, counted.attempt), 'failed',
           %(error)s::jsonb, true, %(path)s,
           CASE WHEN counted.streak >= %(max_crashes)s THEN %(name)s END,
           CASE WHEN counted.attempt <= %(attempt)s THEN %(logs)s::jsonb ELSE '[]' END,
           durable.now() - make_interval(secs => lasted.seconds), durable.now(),
           least(lasted.seconds * 1000, 2147483647)::integer,
           CASE WHEN counted.attempt <= %(attempt)s THEN %(peak_rss)s::bigint END,
           CASE WHEN counted.attempt <= %(attempt)s THEN %(process)s::text END
    FROM counted
    CROSS JOIN LATERAL (
        SELECT CASE WHEN counted.attempt <= %(attempt)s THEN %(duration)s::float8 ELSE 0 END
            AS seconds) AS lasted
    WHERE NOT counted.finished
)
SELECT id::text, status, crashes, lock_token IS NOT NULL AS is_held,
       extract(epoch FROM scheduled_at - durable.now())::double precision AS due_in,
       NULL::text AS parent_id
FROM settled;

-- name: settle_handler_timeout
-- move: retry_later
-- fenced
-- payload: logs
-- A handler was stopped at its timeout: a failed attempt, the last one if no delay is given. When its
-- end had been committed all the same, nothing timed out.
WITH held AS MATERIALIZED (
    SELECT e.id,
           coalesce((SELECT max(s.position) FROM durable.step_executions s
                     WHERE s.execution_id = e.id), 0) AS position,
           EXISTS (SELECT FROM durable.step_executions s
                   WHERE s.execution_id = e.id AND s.path = %(path)s AND s.visit = %(visit)s
                     AND s.is_compensation
                     AND (s.status = 'completed' OR s.attempt = %(attempt)s)) AS finished
    FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'compensating'
    FOR NO KEY UPDATE OF e
), settled AS (
    UPDATE durable.workflow_executions e
    SET status = 'compensating', updated_at = durable.now(), begun = NULL,
        scheduled_at = durable.now() + make_interval(
            secs => CASE WHEN held.finished THEN 0 ELSE coalesce(%(delay)s::double precision, 0) END),
        lock_token = NULL, locked_by = NULL, locked_at = NULL
    FROM held
    WHERE e.id = held.id
    RETURNING e.id, e.status, e.crashes, e.scheduled_at, held.position, held.finished
), attempt AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, error,
         is_compensation, compensation_for, compensation, logs, started_at, completed_at,
         duration_ms, peak_rss, process)
    SELECT %(step_id)s::uuid, settled.id, settled.position + 1, %(path)s, %(name)s, 'compensation',
           %(visit)s::integer, %(attempt)s::integer, 'failed', %(error)s::jsonb, true, %(path)s,
           CASE WHEN %(delay)s::double precision IS NULL THEN %(name)s END, %(logs)s::jsonb,
           durable.now() - make_interval(secs => %(duration)s), durable.now(),
           least(%(duration)s * 1000, 2147483647)::integer, %(peak_rss)s::bigint, %(process)s::text
    FROM settled
    WHERE NOT settled.finished
)
SELECT id::text, status, crashes, false AS is_held,
       extract(epoch FROM scheduled_at - durable.now())::double precision AS due_in,
       NULL::text AS parent_id
FROM settled;

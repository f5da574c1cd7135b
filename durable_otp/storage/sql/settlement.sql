-- What a manager writes about a worker that died, hung or was told to stop. A dead client's last
-- statement may still run on the server, so the lock token is changed and committed first; only
-- then is the journal read, in a later statement.

-- name: condemn
-- fenced
-- The new token is the caller's, so that a repetition after a lost answer finds it in force.
UPDATE durable.workflow_executions
SET lock_token = %(new_token)s::uuid, locked_at = durable.now()
WHERE id = %(id)s::uuid AND lock_token IN (%(lock_token)s::uuid, %(new_token)s::uuid)
  AND status IN ('running', 'compensating')
RETURNING lock_token::text;

-- name: settle_crash
-- move: retry_later, fail, compensate
-- fenced
-- payload: logs
-- Count the death, record the attempt that died (unless its checkpoint had been committed), and
-- decide: the first crash at a position runs again at once under another token (a repetition finds
-- that in force, and does not count twice), later ones after a back-off, the last one is final.
-- A worker that died between two attempts is charged with the one that was to come; what it had
-- printed and how long it had run are the earlier one's, whose row has them.
WITH held AS MATERIALIZED (
    SELECT e.*, coalesce((SELECT max(s.position) FROM durable.step_executions s
                          WHERE s.execution_id = e.id AND s.status = 'completed'), 0) AS position
    FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
    FOR NO KEY UPDATE OF e
), counted AS (
    SELECT held.*, CASE WHEN held.crash_position = held.position THEN held.crash_streak + 1
                        ELSE 1 END AS streak
    FROM held
), blamed AS MATERIALIZED (
    SELECT counted.*, CASE WHEN counted.streak >= %(max_crashes)s
                           THEN durable.failed_status(counted.id) END AS failed_status
    FROM counted
), settled AS (
    UPDATE durable.workflow_executions e
    SET crashes = e.crashes + 1, crash_streak = blamed.streak, crash_position = blamed.position,
        updated_at = durable.now(), current_step = %(path)s, begun = NULL,
        status = CASE
            WHEN blamed.failed_status IS NOT NULL THEN blamed.failed_status
            WHEN blamed.streak = 1 THEN 'running'
            ELSE 'pending' END,
        error = CASE WHEN blamed.failed_status IS NOT NULL THEN %(error)s::jsonb ELSE e.error END,
        completed_at = CASE blamed.failed_status WHEN 'failed' THEN durable.now() END,
        queue = CASE blamed.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        scheduled_at = CASE WHEN blamed.failed_status IS NOT NULL THEN durable.now()
                            WHEN blamed.streak = 1 THEN e.scheduled_at
                            ELSE durable.now() + make_interval(secs => least(
                                30.0, %(backoff)s * power(2, least(blamed.streak, 20) - 2))) END,
        lock_token = CASE WHEN blamed.streak = 1 AND %(max_crashes)s > 1
                          THEN %(new_token)s::uuid END,
        locked_by = CASE WHEN blamed.streak = 1 AND %(max_crashes)s > 1 THEN e.locked_by END,
        locked_at = CASE WHEN blamed.streak = 1 AND %(max_crashes)s > 1 THEN durable.now() END
    FROM blamed
    WHERE e.id = blamed.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id, e.crashes, blamed.position,
              e.scheduled_at, e.lock_token
), attempt AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, error, logs, started_at,
         completed_at, duration_ms, peak_rss, process)
    SELECT %(step_id)s::uuid, settled.id, settled.position + 1, %(path)s, %(name)s, %(type)s,
           %(visit)s::integer, greatest(%(attempt)s::integer, before.attempts + 1),
           'failed', %(error)s::jsonb,
           CASE WHEN before.attempts < %(attempt)s THEN %(logs)s::jsonb ELSE '[]' END,
           durable.now() - make_interval(secs => before.duration), durable.now(),
           least(before.duration * 1000, 2147483647)::integer,
           CASE WHEN before.attempts < %(attempt)s THEN %(peak_rss)s::bigint END,
           CASE WHEN before.attempts < %(attempt)s THEN %(process)s::text END
    FROM settled
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS attempts,
               CASE WHEN count(*) < %(attempt)s THEN %(duration)s::float8 ELSE 0 END AS duration
        FROM durable.step_executions s
        WHERE s.execution_id = settled.id AND s.path = %(path)s AND s.visit = %(visit)s
          AND s.status = 'failed' AND NOT s.is_compensation
    ) AS before
    WHERE NOT EXISTS (
        SELECT FROM durable.step_executions s
        WHERE s.execution_id = settled.id AND s.path = %(path)s AND s.visit = %(visit)s
          AND s.status = 'completed')
)
SELECT id::text, status, crashes, lock_token IS NOT NULL AS is_held,
       extract(epoch FROM scheduled_at - durable.now())::double precision AS due_in,
       CASE WHEN status = 'failed' THEN parent_id::text END AS parent_id,
       CASE WHEN status = 'compensating' THEN pg_notify('durable:queue', queue)
            WHEN status = 'failed' AND watched THEN pg_notify('durable:done', id::text) END
FROM settled;

-- name: crash_was_settled
-- Whether an earlier try of settle_crash had been committed and let the execution run again.
SELECT id::text, status, crashes, true AS is_held, NULL::double precision AS due_in,
       NULL::text AS parent_id
FROM durable.workflow_executions
WHERE id = %(id)s::uuid AND lock_token = %(new_token)s::uuid;

-- name: settle_timeout
-- move: retry_later, fail, compensate
-- fenced
-- payload: logs
-- A step was stopped at its timeout: a failed attempt, not a crash. When its end, of either kind,
-- had been committed all the same, nothing timed out and the execution runs on from there.
WITH held AS MATERIALIZED (
    SELECT e.*,
           coalesce((SELECT max(s.position) FROM durable.step_executions s
                     WHERE s.execution_id = e.id AND s.status = 'completed'), 0) AS position,
           EXISTS (SELECT FROM durable.step_executions s
                   WHERE s.execution_id = e.id AND s.path = %(path)s AND s.visit = %(visit)s
                     AND (s.status = 'completed'
                          OR s.status = 'failed' AND s.attempt = %(attempt)s)) AS finished
    FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
    FOR NO KEY UPDATE OF e
), decided AS MATERIALIZED (
    SELECT held.*, CASE WHEN NOT held.finished AND %(delay)s::double precision IS NULL
                        THEN durable.failed_status(held.id) END AS failed_status
    FROM held
), settled AS (
    UPDATE durable.workflow_executions e
    SET updated_at = durable.now(), current_step = %(path)s, begun = NULL,
        status = CASE WHEN decided.failed_status IS NOT NULL THEN decided.failed_status
                      ELSE 'pending' END,
        error = CASE WHEN decided.failed_status IS NOT NULL THEN %(error)s::jsonb ELSE e.error END,
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        scheduled_at = CASE WHEN decided.finished THEN durable.now()
                            ELSE durable.now() + make_interval(secs => coalesce(%(delay)s, 0)) END,
        lock_token = NULL, locked_by = NULL, locked_at = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id, e.crashes, decided.position,
              decided.finished, e.scheduled_at
), attempt AS (
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, type, visit, attempt, status, error, logs, started_at,
         completed_at, duration_ms, peak_rss, process)
    SELECT %(step_id)s::uuid, settled.id, settled.position + 1, %(path)s, %(name)s, %(type)s,
           %(visit)s::integer, %(attempt)s::integer, 'failed', %(error)s::jsonb, %(logs)s::jsonb,
           durable.now() - make_interval(secs => %(duration)s), durable.now(),
           least(%(duration)s * 1000, 2147483647)::integer, %(peak_rss)s::bigint, %(process)s::text
    FROM settled
    WHERE NOT settled.finished
)
SELECT id::text, status, crashes, false AS is_held,
       extract(epoch FROM scheduled_at - durable.now())::double precision AS due_in,
       CASE WHEN status = 'failed' THEN parent_id::text END AS parent_id,
       CASE WHEN status = 'compensating' THEN pg_notify('durable:queue', queue)
            WHEN status = 'failed' AND watched THEN pg_notify('durable:done', id::text) END
FROM settled;

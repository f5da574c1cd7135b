-- Finished steps of many executions, written in one transaction with a verdict for each execution.

-- name: lock_batch
-- fenced
-- Those that are still ours. A row that somebody has locked is left out and tried again later, so
-- that it holds up nobody else.
SELECT e.id::text, e.lock_token::text
FROM unnest(%(ids)s::uuid[], %(lock_tokens)s::uuid[]) AS asked (id, lock_token)
JOIN durable.workflow_executions e ON e.id = asked.id AND e.lock_token = asked.lock_token
WHERE e.status = 'running'
ORDER BY e.id
FOR UPDATE OF e SKIP LOCKED;

-- name: write_batch
-- The rows of executions that this transaction has locked.
INSERT INTO durable.step_executions
    (id, execution_id, position, path, name, type, visit, attempt, status, output, changes,
     snapshot, results, next_path, jumps, compensation, logs, started_at, completed_at, duration_ms,
     cpu_seconds, peak_rss, process)
SELECT step_id, execution_id, position, path, name, type, visit, attempt, 'completed', output,
       changes, snapshot, results, next_path, jumps, compensation, logs,
       durable.now() - make_interval(secs => duration), durable.now(),
       least(duration * 1000, 2147483647)::integer, cpu_seconds, peak_rss, process
FROM json_to_recordset(%(rows)s::json) AS given (
    step_id uuid, execution_id uuid, position integer, path text, name text, type text,
    visit integer, attempt integer, output jsonb, changes jsonb, snapshot jsonb, results jsonb,
    next_path text, jumps integer, compensation text, logs jsonb, duration double precision,
    cpu_seconds real, peak_rss bigint, process text)
ON CONFLICT DO NOTHING;

-- name: complete_batch
-- move: complete
-- fenced
UPDATE durable.workflow_executions e
SET status = 'completed', completed_at = durable.now(), updated_at = durable.now(),
    current_step = NULL, lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL,
    result = given.result::jsonb
FROM unnest(%(ids)s::uuid[], %(lock_tokens)s::uuid[], %(results)s::text[])
    AS given (id, lock_token, result)
WHERE e.id = given.id AND e.lock_token = given.lock_token
RETURNING e.parent_id::text, CASE WHEN e.watched THEN pg_notify('durable:done', e.id::text) END;

-- name: standing_of_batch
-- fenced
-- Of those that could not be locked: whether an earlier try had written their last step.
SELECT asked.id::text, CASE WHEN e.completed_at IS NOT NULL THEN e.parent_id::text END AS parent_id,
       e.lock_token = asked.lock_token AND e.status = 'running' AS is_ours, s.id IS NOT NULL AS is_written
FROM unnest(%(ids)s::uuid[], %(lock_tokens)s::uuid[], %(step_ids)s::uuid[])
    AS asked (id, lock_token, step_id)
JOIN durable.workflow_executions e ON e.id = asked.id
LEFT JOIN durable.step_executions s ON s.execution_id = asked.id AND s.id = asked.step_id;

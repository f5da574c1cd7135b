-- Deadlines: how long an execution may take altogether, waiting included.

-- name: lock_overdue
-- Locked by a statement of its own, so that the next one sees every checkpoint that came before. A
-- row that somebody is writing to is left for the next round.
SELECT e.id::text
FROM durable.workflow_executions e
WHERE e.deadline_at <= durable.now() AND e.status IN ('pending', 'running', 'waiting')
ORDER BY e.deadline_at
LIMIT %(batch_size)s
FOR UPDATE OF e SKIP LOCKED;

-- name: fail_overdue
-- move: fail, compensate
-- Whatever they do, they end. A holder is told under which token it held, so that it stops that body
-- and not the compensation that may have begun meanwhile.
WITH decided AS MATERIALIZED (
    SELECT e.id, e.lock_token, durable.failed_status(e.id) AS failed_status
    FROM durable.workflow_executions e
    WHERE e.id = ANY(%(ids)s::uuid[])
), ended AS (
    UPDATE durable.workflow_executions e
    SET status = decided.failed_status, updated_at = durable.now(),
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        scheduled_at = CASE decided.failed_status WHEN 'failed' THEN e.scheduled_at
                                                  ELSE durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        error = jsonb_build_object('type', 'workflow_timeout', 'stacktrace', NULL, 'message', format(
            'Workflow %%L did not end within its timeout of %%s s.', e.workflow,
            round(extract(epoch FROM e.deadline_at - e.inserted_at)::numeric, 3)::double precision)),
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id, decided.lock_token AS held_under
), told AS (
    SELECT pg_notify('durable:cancel', id::text || ' ' || held_under::text)
    FROM ended WHERE held_under IS NOT NULL
    UNION ALL
    SELECT pg_notify('durable:queue', queue)
    FROM (SELECT DISTINCT queue FROM ended WHERE status = 'compensating') q
    UNION ALL
    SELECT pg_notify('durable:done', id::text) FROM ended WHERE status = 'failed' AND watched
)
SELECT r.id::text, r.status, CASE WHEN r.status = 'failed' THEN r.parent_id::text END AS parent_id,
       (SELECT count(*) FROM told) AS told
FROM ended r;

-- name: next_deadline
-- How long nobody's deadline passes: seconds, null when nobody has one.
SELECT extract(epoch FROM min(deadline_at) - durable.now())::double precision AS seconds
FROM durable.workflow_executions
WHERE deadline_at IS NOT NULL AND status IN ('pending', 'running', 'waiting');

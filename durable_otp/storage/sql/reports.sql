-- What clients, the command line and the dashboard ask about executions. Nothing here locks or
-- writes.

-- name: get_execution
-- `begun` is what the manager reported last: the step that a held execution is in.
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results, e.begun
FROM durable.workflow_executions e
WHERE e.id = %(id)s::uuid;

-- name: steps_of
-- Every attempt, in the order in which they ended.
SELECT id::text, path, name, type, visit, attempt, status, output, error, logs, started_at,
       completed_at, duration_ms, is_compensation, nullif(compensation_for, '') AS compensation_for,
       child_id::text
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid
ORDER BY position, completed_at, visit, attempt, id;

-- name: open_visits_of
-- The visits that wait for something; a visit's attempts are those recorded and this one.
SELECT w.path, w.visit, min(w.created_at) AS started_at,
       1 + (SELECT count(*) FROM durable.step_executions s
            WHERE s.execution_id = %(id)s::uuid AND s.path = w.path AND s.visit = w.visit
              AND s.status = 'failed' AND NOT s.is_compensation)::integer AS attempt
FROM durable.waits w
WHERE w.execution_id = %(id)s::uuid AND w.status = 'open'
GROUP BY w.path, w.visit
ORDER BY min(w.created_at), w.path;

-- name: inserted_at_of
SELECT inserted_at FROM durable.workflow_executions WHERE id = %(id)s::uuid;

-- name: list_newest
-- A page in the order of (inserted_at, id), from the row after `after` on.
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results
FROM durable.workflow_executions e
WHERE (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
  AND (%(statuses)s::text[] IS NULL OR e.status = ANY(%(statuses)s::text[]))
  AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
  AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
  AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
  AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
  AND (NOT %(top_level)s OR e.parent_id IS NULL)
  AND (%(after)s::uuid IS NULL
       OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
ORDER BY e.inserted_at DESC, e.id DESC
LIMIT %(limit)s;

-- name: list_oldest
-- The same from the other end.
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results
FROM durable.workflow_executions e
WHERE (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
  AND (%(statuses)s::text[] IS NULL OR e.status = ANY(%(statuses)s::text[]))
  AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
  AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
  AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
  AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
  AND (NOT %(top_level)s OR e.parent_id IS NULL)
  AND (%(after)s::uuid IS NULL
       OR (e.inserted_at, e.id) > (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
ORDER BY e.inserted_at, e.id
LIMIT %(limit)s;

-- name: count_executions
SELECT count(*) AS count
FROM durable.workflow_executions e
WHERE (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
  AND (%(statuses)s::text[] IS NULL OR e.status = ANY(%(statuses)s::text[]))
  AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
  AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
  AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
  AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
  AND (NOT %(top_level)s OR e.parent_id IS NULL);

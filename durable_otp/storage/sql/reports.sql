-- What clients, the command line and the dashboard ask about executions. Nothing here locks or
-- writes.

-- name: get_execution
-- `begun` is what the manager reported last: the step that a held execution is in.
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results, e.begun,
       f.context AS block_context
FROM durable.workflow_executions e
LEFT JOIN durable.fan_outs f
    ON f.execution_id = e.parent_id AND f.path = e.parent_path AND f.visit = e.parent_visit
   AND e.parent_index IS NOT NULL
WHERE e.id = %(id)s::uuid;

-- name: execution_status
-- Without the token that holds it: whoever starts executions may ask this.
SELECT status FROM durable.workflow_executions WHERE id = %(id)s::uuid;

-- name: steps_of
-- Every attempt, in the order in which they ended, and the workflow that each called last.
SELECT s.id::text, s.path, s.name, s.type, s.visit, s.attempt, s.status, s.output, s.error, s.logs,
       s.started_at, s.completed_at, s.duration_ms, s.cpu_seconds, s.peak_rss, s.process,
       s.is_compensation, nullif(s.compensation_for, '') AS compensation_for,
       coalesce(s.child_id, (
           SELECT child.id FROM durable.workflow_executions child
           WHERE child.parent_id = s.execution_id AND child.parent_path = s.path
             AND child.parent_visit = s.visit AND child.parent_index IS NULL
             AND child.inserted_at <= s.completed_at
           ORDER BY child.inserted_at DESC, child.id DESC
           LIMIT 1))::text AS child_id
FROM durable.step_executions s
WHERE s.execution_id = %(id)s::uuid
ORDER BY s.position, s.completed_at, s.visit, s.attempt, s.id;

-- name: open_visits_of
-- The visits that wait for something; a visit's attempts are those recorded and this one.
SELECT w.path, w.visit, min(w.created_at) AS started_at,
       1 + (SELECT count(*) FROM durable.step_executions s
            WHERE s.execution_id = %(id)s::uuid AND s.path = w.path AND s.visit = w.visit
              AND s.status = 'failed' AND NOT s.is_compensation)::integer AS attempt,
       (SELECT f.kind FROM durable.fan_outs f
        WHERE f.execution_id = %(id)s::uuid AND f.path = w.path AND f.visit = w.visit) AS type,
       max(w.child_id::text) AS child_id
FROM durable.waits w
WHERE w.execution_id = %(id)s::uuid AND w.status = 'open'
GROUP BY w.path, w.visit
ORDER BY min(w.created_at), w.path;

-- name: inserted_at_of
SELECT inserted_at FROM durable.workflow_executions WHERE id = %(id)s::uuid;

-- name: list_newest
-- A page in the order of (inserted_at, id), from the row after `after` on. Each status is a walk of its
-- own along its part of an index, and the walks are merged: however rare what is asked for is, what
-- lies between is not read. Twice, because the indexes by name have the rows that ended only.
WITH found AS (
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NOT NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(limit)s
    ) AS found
    UNION ALL
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(limit)s
    ) AS found
), page AS (
    SELECT e.id FROM found e ORDER BY e.inserted_at DESC, e.id DESC LIMIT %(limit)s
)
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results
FROM durable.workflow_executions e
WHERE e.id = ANY (ARRAY(SELECT page.id FROM page))
ORDER BY e.inserted_at DESC, e.id DESC;

-- name: list_oldest
-- The same from the other end.
WITH found AS (
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NOT NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) > (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at, e.id
        LIMIT %(limit)s
    ) AS found
    UNION ALL
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) > (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at, e.id
        LIMIT %(limit)s
    ) AS found
), page AS (
    SELECT e.id FROM found e ORDER BY e.inserted_at, e.id LIMIT %(limit)s
)
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority, e.input, e.error,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.locked_by, e.crashes, e.interruptions, e.compensation_results
FROM durable.workflow_executions e
WHERE e.id = ANY (ARRAY(SELECT page.id FROM page))
ORDER BY e.inserted_at, e.id;

-- name: count_executions
-- In two, as the indexes are. An exact count reads what it counts.
SELECT sum(part.count)::bigint AS count
FROM (
    SELECT count(*) AS count
    FROM durable.workflow_executions e
    WHERE e.status = ANY(%(statuses)s::text[]) AND e.completed_at IS NOT NULL
      AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
      AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
      AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
      AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
      AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
      AND (NOT %(top_level)s OR e.parent_id IS NULL)
    UNION ALL
    SELECT count(*)
    FROM durable.workflow_executions e
    WHERE e.status = ANY(%(statuses)s::text[]) AND e.completed_at IS NULL
      AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
      AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
      AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
      AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
      AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
      AND (NOT %(top_level)s OR e.parent_id IS NULL)
) AS part;

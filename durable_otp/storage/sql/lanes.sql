-- Which process ran what when, for the dashboard's lanes. Nothing here locks or writes.

-- name: attempts_of_processes
-- The attempts of the last seconds that these processes ran, the newest first. No index leads from a
-- time to an attempt: looked at are the executions that are held, those that live and have moved since,
-- and the newest `most` in each final status, by their end and by their beginning (a child's end is in
-- no index). `complete_since` is how far back nobody was left out for that.
WITH statuses AS (
    SELECT wanted.status FROM unnest(%(statuses)s::text[]) AS wanted (status)
), ended AS MATERIALIZED (
    SELECT statuses.status, e.id, e.completed_at
    FROM statuses
    CROSS JOIN LATERAL (
        SELECT e.id, e.completed_at FROM durable.workflow_executions e
        WHERE e.status = statuses.status AND e.parent_id IS NULL AND e.completed_at IS NOT NULL
          AND e.completed_at > durable.now() - make_interval(secs => %(seconds)s)
        ORDER BY e.completed_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS e
), inserted AS MATERIALIZED (
    SELECT statuses.status, e.id, e.completed_at
    FROM statuses
    CROSS JOIN LATERAL (
        SELECT e.id, e.completed_at FROM durable.workflow_executions e
        WHERE e.status = statuses.status AND e.completed_at IS NOT NULL
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS e
    WHERE e.completed_at > durable.now() - make_interval(secs => %(seconds)s)
), living AS (
    SELECT e.id FROM durable.workflow_executions e WHERE e.locked_by IS NOT NULL
    UNION ALL
    SELECT moved.id FROM (
        SELECT e.id, e.updated_at FROM durable.workflow_executions e
        WHERE e.status = ANY (%(living)s::text[]) AND e.completed_at IS NULL
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS moved
    WHERE moved.updated_at > durable.now() - make_interval(secs => %(seconds)s)
), those AS (
    SELECT id FROM ended UNION SELECT id FROM inserted UNION SELECT id FROM living
), since AS (
    SELECT greatest(durable.now() - make_interval(secs => %(seconds)s),
                    (SELECT max(oldest) FROM (
                        SELECT min(completed_at) AS oldest FROM ended GROUP BY status
                        HAVING count(*) >= %(most)s) AS full_up)) AS complete_since
)
SELECT s.execution_id::text, e.workflow, s.path, s.attempt, s.status, s.is_compensation, s.process,
       s.started_at, s.completed_at, since.complete_since
FROM those
JOIN durable.workflow_executions e ON e.id = those.id
JOIN durable.step_executions s ON s.execution_id = those.id
CROSS JOIN since
WHERE s.completed_at > durable.now() - make_interval(secs => %(seconds)s)
  AND (s.process = ANY (%(processes)s::text[])
       OR s.process IS NULL AND s.status = 'failed' AND s.execution_id = ANY (%(died_at)s::uuid[]))
ORDER BY s.completed_at DESC, s.id DESC
LIMIT %(limit)s;

-- name: begun_steps
-- Which of these executions are held, and since when they are at their step, as far as their manager has
-- said it.
SELECT e.id::text, (e.begun ->> 'started_at')::timestamptz AS started_at
FROM durable.workflow_executions e
WHERE e.id = ANY (%(ids)s::uuid[]) AND e.lock_token IS NOT NULL;

-- What operators ask about the whole of a schema. Nothing here locks or writes.

-- name: pending_workflows
-- What waits for a free worker, by definition: to be held against what the live nodes know.
SELECT workflow, version, count(*)::integer AS pending
FROM durable.workflow_executions
WHERE status IN ('pending', 'compensating') AND lock_token IS NULL
GROUP BY workflow, version
ORDER BY workflow, version;

-- name: oldest_due
SELECT queue, extract(epoch FROM durable.now() - min(scheduled_at))::double precision AS seconds
FROM durable.workflow_executions
WHERE status IN ('pending', 'compensating') AND lock_token IS NULL
  AND scheduled_at <= durable.now()
GROUP BY queue
ORDER BY queue;

-- name: journal_totals
-- `repeated`: attempts that ended after their own visit was recorded as completed; must be 0.
SELECT count(*) FILTER (WHERE status = 'completed')::integer AS completed,
       count(*) FILTER (WHERE status = 'failed'
                        AND error ->> 'type' <> 'worker_crashed')::integer AS failed,
       count(*) FILTER (WHERE status = 'failed'
                        AND error ->> 'type' = 'worker_crashed')::integer AS crashed,
       (SELECT count(*)
        FROM durable.step_executions done
        JOIN durable.step_executions later USING (execution_id, path, visit, compensation_for)
        WHERE done.status = 'completed' AND later.id <> done.id
          AND later.completed_at > done.completed_at)::integer AS repeated
FROM durable.step_executions;

-- name: recoveries
-- Every death of a worker in a step, and how long after it was recorded the step ran again.
SELECT crashed.id::text, crashed.execution_id::text, crashed.path AS step,
       crashed.error ->> 'signal' AS signal,
       extract(epoch FROM again.started_at - crashed.completed_at)::double precision AS seconds
FROM durable.step_executions crashed
CROSS JOIN LATERAL (
    SELECT min(next.started_at) AS started_at
    FROM durable.step_executions next
    WHERE next.execution_id = crashed.execution_id AND next.path = crashed.path
      AND next.visit = crashed.visit AND next.compensation_for = crashed.compensation_for
      AND next.attempt > crashed.attempt
) AS again
WHERE crashed.status = 'failed' AND crashed.error ->> 'type' = 'worker_crashed'
ORDER BY crashed.completed_at, crashed.id;

-- name: statuses_of
-- What became of some executions.
SELECT id::text, status
FROM durable.workflow_executions
WHERE id = ANY(%(ids)s::uuid[]);

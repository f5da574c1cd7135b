-- A new execution that begins with a copy of another one's past.

-- name: lock_fork_source
-- Kept from being removed meanwhile; whoever runs it is not disturbed. `first_path` is null when
-- the definition is not published.
SELECT e.id::text, e.parent_id::text, e.parent_index IS NOT NULL AS is_block_child,
       (SELECT d.description #>> '{nodes,0,path}' FROM durable.definitions d
        WHERE d.workflow = e.workflow AND d.version = e.version) AS first_path
FROM durable.workflow_executions e
WHERE e.id = %(id)s::uuid
FOR KEY SHARE;

-- name: reached_paths
-- Where the journal led, and behind which of its rows it did so last.
SELECT next_path AS path, max(position) AS position
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND status = 'completed' AND NOT is_compensation
  AND next_path IS NOT NULL
GROUP BY next_path
ORDER BY max(position);

-- name: fork
-- What was claimed before is resumed, so a fork with a past has been started. The deadline is as
-- long as the first one was. A step that the source has undone since is not undone a second time;
-- every other column of a row is copied, whatever columns there are.
WITH source AS (
    SELECT e.* FROM durable.workflow_executions e WHERE e.id = %(id)s::uuid
), forked AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, scheduled_at, started_at, deadline_at,
         current_step, inserted_at, updated_at)
    SELECT %(new_id)s::uuid, source.workflow, source.version,
           coalesce(source.home_queue, source.queue), source.priority, source.input, durable.now(),
           CASE WHEN %(position)s > 0 THEN durable.now() END,
           durable.now() + (source.deadline_at - coalesce(source.retried_at, source.inserted_at)),
           %(path)s, durable.now(), durable.now()
    FROM source
    ON CONFLICT DO NOTHING
    RETURNING id, queue
), copied AS (
    INSERT INTO durable.step_executions
    SELECT copy.*
    FROM forked
    JOIN durable.step_executions s ON s.execution_id = %(id)s::uuid
    CROSS JOIN LATERAL jsonb_populate_record(s, jsonb_build_object(
        'id', gen_random_uuid(), 'execution_id', forked.id, 'process', NULL, 'compensation',
        CASE WHEN NOT EXISTS (
            SELECT FROM durable.step_executions undone
            WHERE undone.execution_id = s.execution_id AND undone.path = s.path
              AND undone.visit = s.visit AND undone.is_compensation
              AND undone.status = 'completed'
        ) THEN s.compensation END)) AS copy
    WHERE s.position <= %(position)s AND NOT s.is_compensation
)
SELECT pg_notify('durable:queue', queue) FROM forked;

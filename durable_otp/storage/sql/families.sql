-- Parents and children: the blocks that are open, and the executions that run in them.

-- name: origin
-- What an execution is that is not plain: whether it compensates, and which child of a block.
SELECT e.status = 'compensating' AS is_compensating, e.start_path, e.parent_index AS index,
       e.input AS item, f.input, f.context
FROM durable.workflow_executions e
LEFT JOIN durable.fan_outs f
    ON f.execution_id = e.parent_id AND f.path = e.parent_path AND f.visit = e.parent_visit
   AND e.parent_index IS NOT NULL
WHERE e.id = %(id)s::uuid;

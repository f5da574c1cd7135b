-- What blocks need to be opened in batches, and what finding their ends needs to be cheap.

-- `opened` counts the children that have a row of either kind; until all have one, `items` keeps
-- the list, so that a worker that takes over does not ask for it again. `results` are those of the
-- block before, which the children see.
ALTER TABLE durable.fan_outs
    ADD COLUMN kind text NOT NULL DEFAULT 'parallel' CHECK (kind IN ('parallel', 'each')),
    ADD COLUMN opened integer NOT NULL DEFAULT 0 CHECK (opened <= total),
    ADD COLUMN items jsonb,
    ADD COLUMN results jsonb;

-- What a block's children gave. A column of its own: no key of the context can collide with it,
-- and the latest is found however many steps and snapshots came after it.
ALTER TABLE durable.step_executions ADD COLUMN results jsonb;
CREATE INDEX step_executions_results ON durable.step_executions (execution_id, position)
    WHERE results IS NOT NULL;

CREATE INDEX workflow_executions_failed_children
    ON durable.workflow_executions (parent_id, parent_path, parent_visit)
    WHERE parent_index IS NOT NULL
      AND status IN ('failed', 'cancelled', 'compensating', 'compensated', 'compensation_failed');
CREATE INDEX waits_for_children ON durable.waits (execution_id)
    WHERE status = 'open' AND kind = 'child';

-- Whether a wait for children asks for something to be done: a called child has ended; or of a
-- block, all have, or one may begin, or one has failed and others that may be cancelled live on.
CREATE FUNCTION durable.children_ask(
    execution_id uuid, block_path text, block_visit integer, called uuid
) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN $4 IS NOT NULL THEN NOT EXISTS (
        SELECT FROM durable.workflow_executions child
        WHERE child.id = $4 AND child.completed_at IS NULL
    ) ELSE coalesce((
        SELECT NOT EXISTS (
                SELECT FROM durable.workflow_executions child
                WHERE child.parent_id = $1 AND child.parent_path = $2 AND child.parent_visit = $3
                  AND child.completed_at IS NULL)
            OR CASE WHEN f.on_error = 'fail_fast' AND EXISTS (
                SELECT FROM durable.workflow_executions child
                WHERE child.parent_id = $1 AND child.parent_path = $2 AND child.parent_visit = $3
                  AND child.parent_index IS NOT NULL
                  AND child.status IN ('failed', 'cancelled', 'compensating', 'compensated',
                                       'compensation_failed'))
            THEN EXISTS (
                SELECT FROM durable.workflow_executions child
                WHERE child.parent_id = $1 AND child.parent_path = $2 AND child.parent_visit = $3
                  AND child.completed_at IS NULL
                  AND child.status IN ('pending', 'running', 'waiting'))
            ELSE f.created < f.total AND f.max_concurrency > (
                SELECT count(*) FROM (
                    SELECT FROM durable.workflow_executions child
                    WHERE child.parent_id = $1 AND child.parent_path = $2
                      AND child.parent_visit = $3 AND child.completed_at IS NULL
                    LIMIT f.max_concurrency) AS live)
            END
        FROM durable.fan_outs f
        WHERE f.execution_id = $1 AND f.path = $2 AND f.visit = $3
    ), false) END
$$;

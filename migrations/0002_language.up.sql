-- What the whole language needs beyond steps in a row: compensations, families of executions
-- (parallel, each, called workflows), waits with a default, deadlines.

-- What a completed step names to undo it; the newest is undone first.
ALTER TABLE durable.step_executions ADD COLUMN compensation text;
CREATE INDEX step_executions_compensable ON durable.step_executions (execution_id)
    WHERE compensation IS NOT NULL AND status = 'completed';

-- A child of a parallel or an each begins at `start_path`, is the one of `parent_index` among its
-- siblings (null for a called workflow), and leaves its value in `result`.
ALTER TABLE durable.workflow_executions
    ADD COLUMN start_path text,
    ADD COLUMN result jsonb;
-- Unique among the children of a block; called workflows have no index and may be many.
CREATE UNIQUE INDEX workflow_executions_children
    ON durable.workflow_executions (parent_id, parent_path, parent_visit, parent_index)
    WHERE parent_id IS NOT NULL;
CREATE INDEX workflow_executions_live_children
    ON durable.workflow_executions (parent_id, parent_path, parent_visit)
    WHERE parent_id IS NOT NULL AND completed_at IS NULL;
CREATE INDEX workflow_executions_deadline ON durable.workflow_executions (deadline_at)
    WHERE deadline_at IS NOT NULL AND status IN ('pending', 'running', 'waiting');

-- An opened parallel or each: its children's input and context once, however many they are.
CREATE TABLE durable.fan_outs (
    execution_id    uuid NOT NULL REFERENCES durable.workflow_executions (id) ON DELETE CASCADE,
    path            text NOT NULL,
    visit           integer NOT NULL,
    on_error        text NOT NULL CHECK (on_error IN ('fail_fast', 'complete_all')),
    max_concurrency integer CHECK (max_concurrency > 0),
    total           integer NOT NULL CHECK (total >= 0),
    created         integer NOT NULL DEFAULT 0 CHECK (created <= total),
    input           jsonb,
    context         jsonb NOT NULL,
    opened_at       timestamptz NOT NULL,
    PRIMARY KEY (execution_id, path, visit)
);

-- The children that are not created yet, because as many as may run do.
CREATE TABLE durable.fan_out_items (
    execution_id uuid NOT NULL,
    path         text NOT NULL,
    visit        integer NOT NULL,
    index        integer NOT NULL,
    start_path   text NOT NULL,
    queue        text NOT NULL,
    item         jsonb,
    PRIMARY KEY (execution_id, path, visit, index),
    FOREIGN KEY (execution_id, path, visit)
        REFERENCES durable.fan_outs (execution_id, path, visit) ON DELETE CASCADE
);

-- A wait may bring a value when its time is over, end its execution, or be for a child.
ALTER TABLE durable.waits
    ADD COLUMN child_id uuid,
    ADD COLUMN has_timeout_value boolean NOT NULL DEFAULT false,
    ADD COLUMN timeout_value jsonb,
    ADD COLUMN on_timeout text NOT NULL DEFAULT 'resume' CHECK (on_timeout IN ('resume', 'fail'));
CREATE INDEX waits_for_child ON durable.waits (child_id) WHERE child_id IS NOT NULL;

-- What an execution becomes that has failed: one that has something to undo undoes it first. The
-- children of its parallel and each blocks that completed, or were cancelled on the way, are a part
-- of it. VOLATILE, so that it looks with a snapshot of its own: a checkpoint that its caller had to
-- wait for, before it got the lock, is seen.
CREATE FUNCTION durable.failed_status(execution_id uuid) RETURNS text LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE family AS (
        SELECT $1 AS id
        UNION ALL
        SELECT child.id
        FROM family
        JOIN durable.workflow_executions child
            ON child.parent_id = family.id AND child.parent_index IS NOT NULL
           AND child.status IN ('completed', 'cancelled')
    )
    SELECT CASE WHEN EXISTS (
        SELECT FROM family
        JOIN durable.step_executions step ON step.execution_id = family.id
        WHERE step.compensation IS NOT NULL AND step.status = 'completed'
    ) THEN 'compensating' ELSE 'failed' END
$$;

-- What operators ask for: executions that go on after their end, and old ones removed.

-- When an operator last had it go on: attempts that failed before then use up nothing any more.
ALTER TABLE durable.workflow_executions ADD COLUMN retried_at timestamptz;

-- Retention walks the roots of one status from the longest ended on; a family goes as a whole.
CREATE INDEX workflow_executions_ended
    ON durable.workflow_executions (status, completed_at, id)
    WHERE parent_id IS NULL AND completed_at IS NOT NULL;

-- Pages of what has ended, by a name: written once, at the end. A claim pays nothing for them.
CREATE INDEX workflow_executions_of_workflow
    ON durable.workflow_executions (workflow, status, inserted_at, id)
    WHERE completed_at IS NOT NULL;
CREATE INDEX workflow_executions_of_queue
    ON durable.workflow_executions (queue, status, inserted_at, id)
    WHERE completed_at IS NOT NULL;

-- What goes with an execution is found by it; without these, each deletion would scan the tables.
CREATE INDEX pending_inputs_of_execution ON durable.pending_inputs (execution_id);

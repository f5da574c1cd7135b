DROP INDEX durable.pending_inputs_of_execution;
DROP INDEX durable.workflow_executions_of_queue;
DROP INDEX durable.workflow_executions_of_workflow;
DROP INDEX durable.workflow_executions_ended;
ALTER TABLE durable.workflow_executions DROP COLUMN retried_at;

DROP TRIGGER workflow_executions_failed ON durable.workflow_executions;
DROP FUNCTION durable.start_on_failure();
DROP TRIGGER workflow_executions_moved ON durable.workflow_executions;
DROP TRIGGER workflow_executions_inserted ON durable.workflow_executions;
DROP FUNCTION durable.tell_move();
DROP TABLE IF EXISTS durable.subscribed;
DROP TABLE durable.subscriptions;

DROP TRIGGER workflow_executions_moved ON durable.workflow_executions;
DROP FUNCTION durable.after_move();
DROP TRIGGER workflow_executions_inserted ON durable.workflow_executions;
DROP FUNCTION durable.after_insert();
DROP FUNCTION durable.start_on_failure(durable.workflow_executions);
DROP FUNCTION durable.tell_move(durable.workflow_executions);
DROP TABLE IF EXISTS durable.subscribed;
DROP TABLE durable.subscriptions;

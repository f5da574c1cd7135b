DROP FUNCTION durable.failed_status(uuid);
DROP INDEX durable.waits_for_child;
ALTER TABLE durable.waits
    DROP COLUMN child_id,
    DROP COLUMN has_timeout_value,
    DROP COLUMN timeout_value,
    DROP COLUMN on_timeout;
DROP TABLE durable.fan_out_items;
DROP TABLE durable.fan_outs;
DROP INDEX durable.workflow_executions_deadline;
DROP INDEX durable.workflow_executions_live_children;
DROP INDEX durable.workflow_executions_children;
ALTER TABLE durable.workflow_executions DROP COLUMN start_path, DROP COLUMN result;
DROP INDEX durable.step_executions_compensable;
ALTER TABLE durable.step_executions DROP COLUMN compensation;

ALTER TABLE durable.step_executions DROP COLUMN process;

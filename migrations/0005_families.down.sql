DROP FUNCTION durable.children_ask(uuid, text, integer, uuid);
DROP INDEX durable.waits_for_children;
DROP INDEX durable.workflow_executions_failed_children;
ALTER TABLE durable.step_executions DROP COLUMN results;
ALTER TABLE durable.fan_outs
    DROP COLUMN results,
    DROP COLUMN items,
    DROP COLUMN opened,
    DROP COLUMN kind;

-- Children before the tables that they point to.
DROP TABLE durable.commands;
DROP TABLE durable.queues;
DROP TABLE durable.queue_managers;
DROP TABLE durable.nodes;
DROP TABLE durable.definitions;
DROP TABLE durable.schedule_slots;
DROP TABLE durable.scheduled_workflows;
DROP TABLE durable.pending_inputs;
DROP TABLE durable.once_results;
DROP TABLE durable.events;
DROP TABLE durable.waits;
DROP TABLE durable.step_executions;
DROP TABLE durable.workflow_executions;
DROP FUNCTION durable.now();

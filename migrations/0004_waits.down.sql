DROP FUNCTION durable.close_waits(uuid);
DROP INDEX durable.events_of_wait;
DROP INDEX durable.pending_inputs_of_wait;
ALTER TABLE durable.pending_inputs DROP COLUMN answer_id;
DROP INDEX durable.events_of_execution;
DROP INDEX durable.events_mailbox;
ALTER TABLE durable.events DROP COLUMN number;
CREATE INDEX events_mailbox ON durable.events (execution_id, name, id) WHERE consumed_at IS NULL;

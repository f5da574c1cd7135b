-- What waits need beyond their tables.

-- Events are consumed in the order in which they came. Their ids are made by many clients, whose
-- clocks differ; the number is given while the execution's row is locked.
ALTER TABLE durable.events ADD COLUMN number bigint GENERATED ALWAYS AS IDENTITY;
DROP INDEX durable.events_mailbox;
CREATE INDEX events_mailbox ON durable.events (execution_id, name, number)
    WHERE consumed_at IS NULL;
CREATE INDEX events_of_execution ON durable.events (execution_id, number);

-- Who answered an input: a repetition after a lost answer of the server finds its own.
ALTER TABLE durable.pending_inputs ADD COLUMN answer_id uuid;
CREATE INDEX pending_inputs_of_wait ON durable.pending_inputs (wait_id);
CREATE INDEX events_of_wait ON durable.events (consumed_by) WHERE consumed_by IS NOT NULL;

-- An execution that ends, or undoes what it did, waits for nothing any more, whoever ended it. A
-- completed one has closed its waits at its steps' checkpoints, so the common end pays nothing.
CREATE FUNCTION durable.close_waits(ended uuid) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE durable.waits SET status = 'cancelled', answered_at = durable.now()
    WHERE execution_id = ended AND status = 'open';
    UPDATE durable.pending_inputs SET status = 'cancelled', completed_at = durable.now()
    WHERE execution_id = ended AND status = 'open';
END
$$;

-- What became of a slot: null while its run goes on or has not been judged. A triggered run has a
-- row too, with the instant of the trigger, which is never a whole second.
ALTER TABLE durable.schedule_slots ADD COLUMN outcome text CONSTRAINT schedule_slots_outcome CHECK (
    outcome IN ('completed', 'failed', 'cancelled', 'unknown', 'not_started', 'skipped'));
CREATE INDEX schedule_slots_open ON durable.schedule_slots (schedule, slot) WHERE outcome IS NULL;

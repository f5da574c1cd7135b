-- Which process ran an attempt: the last 8 characters of its node's id, a colon, its pid. Nothing is
-- known of an attempt that somebody else had to record.
ALTER TABLE durable.step_executions ADD COLUMN process text;

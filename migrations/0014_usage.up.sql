-- What an attempt used of its process: seconds of CPU, and the most memory in bytes. Nothing is known
-- of an attempt that somebody else had to record, because its process was gone.
ALTER TABLE durable.step_executions
    ADD COLUMN cpu_seconds real,
    ADD COLUMN peak_rss bigint;

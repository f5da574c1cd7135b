ALTER TABLE durable.step_executions
    DROP COLUMN cpu_seconds,
    DROP COLUMN peak_rss;

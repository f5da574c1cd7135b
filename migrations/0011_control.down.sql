ALTER TABLE durable.commands DROP CONSTRAINT commands_status;
UPDATE durable.commands SET status = 'refused'
WHERE status IN ('gone', 'failed', 'expired', 'unknown');
ALTER TABLE durable.commands ADD CONSTRAINT commands_status CHECK (
    status IN ('requested', 'accepted', 'done', 'refused'));
ALTER TABLE durable.nodes DROP COLUMN node_timeout, DROP COLUMN watched_until;

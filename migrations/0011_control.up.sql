-- What operators order processes to do, and how much processes use.

-- A node says for how long it may be silent, so that whoever asks need not know its configuration;
-- while somebody watches its tree, it measures its processes more often.
ALTER TABLE durable.nodes
    ADD COLUMN node_timeout double precision NOT NULL DEFAULT 15 CHECK (node_timeout > 0),
    ADD COLUMN watched_until timestamptz;

-- How a command ends: done; refused, nothing was done; gone, its process has ended; failed, on the
-- way; expired, nobody took it in time; unknown, the node died with it.
ALTER TABLE durable.commands DROP CONSTRAINT commands_status;
ALTER TABLE durable.commands ADD CONSTRAINT commands_status CHECK (status IN (
    'requested', 'accepted', 'done', 'refused', 'gone', 'failed', 'expired', 'unknown'));

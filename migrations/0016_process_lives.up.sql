-- Every life of every process of a tree: when it began and was ready, when and how it ended, and what
-- it was at. A node's registrar writes a row when a life begins or ends, and keeps the table bounded.

CREATE TABLE durable.process_lives (
    id           uuid PRIMARY KEY,
    node_id      text NOT NULL,
    path         text NOT NULL,
    role         text NOT NULL,
    queue        text,
    pid          integer NOT NULL,
    restarts     integer,
    started_at   timestamptz NOT NULL,
    ready_at     timestamptz,
    ended_at     timestamptz,
    reason       text,
    execution_id uuid,
    step         text
);
CREATE INDEX process_lives_open ON durable.process_lives (node_id) WHERE ended_at IS NULL;
CREATE INDEX process_lives_ended ON durable.process_lives (ended_at) WHERE ended_at IS NOT NULL;

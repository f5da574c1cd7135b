-- The tables of a durable engine.
--
-- workflow_executions  one row an execution: where it stands, who holds it. Written at claim,
--                      suspension, crash and end; never per step.
-- step_executions      the journal: one append-only row per attempt, and the only place where a
--                      step's result, its change of the context and the next position are kept.
-- waits, events, once_results, pending_inputs   what an execution waits for, and what answered it.
-- scheduled_workflows, schedule_slots           cron; a slot's key makes each run unique.
-- nodes, queue_managers, queues, commands, definitions   the processes, and what they were told.
--
-- The schema is called `durable` here and replaced by the configured one when a migration runs.

-- Wall time is the database's alone. STABLE, so that the planner inlines it and uses the indexes.
CREATE FUNCTION durable.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT now()';

-- What a status may be is said by domains, and what else must hold of a row in as few words as will
-- do: PostgreSQL reads a table's CHECKs from their stored text once a statement, a domain's once a
-- session. (The CHECKs of these two tables took a fifth of a checkpoint's time.)
CREATE DOMAIN durable.execution_status AS text CONSTRAINT workflow_executions_status CHECK (
    VALUE IN ('pending', 'running', 'waiting', 'completed', 'failed', 'cancelled', 'compensating',
              'compensated', 'compensation_failed'));
CREATE DOMAIN durable.step_status AS text CONSTRAINT step_executions_status CHECK (
    VALUE IN ('running', 'waiting', 'completed', 'failed'));
CREATE DOMAIN durable.workflow_name AS text CHECK (VALUE <> '');
CREATE DOMAIN durable.place AS integer CHECK (VALUE >= 0);
CREATE DOMAIN durable.ordinal AS integer CHECK (VALUE >= 1);

CREATE TABLE durable.workflow_executions (
    id                   uuid PRIMARY KEY,
    workflow             durable.workflow_name NOT NULL,
    version              text NOT NULL,
    status               durable.execution_status NOT NULL DEFAULT 'pending',
    queue                text NOT NULL DEFAULT 'default',
    home_queue           text,
    priority             integer NOT NULL DEFAULT 0,
    input                jsonb,
    error                jsonb,
    current_step         text,
    idempotency_key      text,
    parent_id            uuid REFERENCES durable.workflow_executions (id) ON DELETE RESTRICT,
    parent_path          text,
    parent_visit         integer,
    parent_index         integer,
    scheduled_at         timestamptz,
    deadline_at          timestamptz,
    started_at           timestamptz,
    completed_at         timestamptz,
    inserted_at          timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL,
    locked_by            text,
    locked_at            timestamptz,
    lock_token           uuid,
    begun                jsonb,
    crashes              integer NOT NULL DEFAULT 0,
    crash_streak         integer NOT NULL DEFAULT 0,
    crash_position       integer NOT NULL DEFAULT -1,
    interruptions        integer NOT NULL DEFAULT 0,
    interruption_position integer NOT NULL DEFAULT -1,
    compensation_results jsonb NOT NULL DEFAULT '[]',
    watched              boolean NOT NULL DEFAULT false,
    CONSTRAINT workflow_executions_lock CHECK (
        (lock_token IS NULL) = (locked_by IS NULL) AND (lock_token IS NULL) = (locked_at IS NULL)),
    -- Who is held, who is due and who has ended. What is not named here is final.
    CONSTRAINT workflow_executions_state CHECK (
        CASE status
            WHEN 'running' THEN completed_at IS NULL AND lock_token IS NOT NULL
            WHEN 'pending' THEN completed_at IS NULL AND lock_token IS NULL
                                AND scheduled_at IS NOT NULL
            WHEN 'waiting' THEN completed_at IS NULL AND lock_token IS NULL
            WHEN 'compensating' THEN completed_at IS NULL AND scheduled_at IS NOT NULL
            ELSE completed_at IS NOT NULL AND lock_token IS NULL
        END)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
        autovacuum_analyze_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

-- The claim walks this one from the front: the highest priority, then the longest due.
CREATE INDEX workflow_executions_claim
    ON durable.workflow_executions (queue, priority DESC, scheduled_at, id)
    WHERE status IN ('pending', 'compensating') AND lock_token IS NULL;
-- Not by the token, or the planner finds a row that is named by id and token in this index too: when
-- its statistics are older than the claims it believes it empty, and reads all claims to find one.
-- Without `locked_at`, so that a heartbeat leaves the indexes alone.
CREATE INDEX workflow_executions_held
    ON durable.workflow_executions (locked_by) WHERE locked_by IS NOT NULL;
-- Sleepers by the time they wake; at its end those that the clock does not wake.
CREATE INDEX workflow_executions_waiting
    ON durable.workflow_executions (scheduled_at, updated_at) WHERE status = 'waiting';
CREATE UNIQUE INDEX workflow_executions_idempotency
    ON durable.workflow_executions (workflow, idempotency_key) WHERE idempotency_key IS NOT NULL;
-- Pages and counts, by status; those of several are merged. In two, so that what lives is found in a
-- small one, and the planner knows that it is small.
CREATE INDEX workflow_executions_live
    ON durable.workflow_executions (status, inserted_at, id) WHERE completed_at IS NULL;
CREATE INDEX workflow_executions_finished
    ON durable.workflow_executions (status, inserted_at, id) WHERE completed_at IS NOT NULL;

CREATE TABLE durable.step_executions (
    id               uuid NOT NULL,
    execution_id     uuid NOT NULL,
    position         durable.place NOT NULL,
    path             text NOT NULL,
    name             text NOT NULL,
    type             text NOT NULL DEFAULT 'step',
    visit            durable.ordinal NOT NULL DEFAULT 1,
    attempt          durable.ordinal NOT NULL DEFAULT 1,
    status           durable.step_status NOT NULL,
    output           jsonb,
    error            jsonb,
    changes          jsonb,
    snapshot         jsonb,
    next_path        text,
    jumps            integer NOT NULL DEFAULT 0,
    logs             jsonb NOT NULL DEFAULT '[]',
    started_at       timestamptz,
    completed_at     timestamptz NOT NULL,
    duration_ms      integer,
    is_compensation  boolean NOT NULL DEFAULT false,
    compensation_for text NOT NULL DEFAULT '',
    child_id         uuid,
    -- In the order of the journal. The row's own id, made by its writer, tells a repetition.
    PRIMARY KEY (execution_id, position, id)
) WITH (autovacuum_vacuum_insert_scale_factor = 0.1, autovacuum_analyze_scale_factor = 0.1);

-- One completed row per visit of a step: what committed never runs again.
CREATE UNIQUE INDEX step_executions_completed
    ON durable.step_executions (execution_id, path, visit, compensation_for)
    WHERE status = 'completed';

-- The journal of an execution goes with it. Not by a foreign key: that would look the execution up
-- at every checkpoint, which has just locked it. Whoever inserts a row holds its execution's.
CREATE FUNCTION durable.forget_journal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM durable.step_executions s USING deleted WHERE s.execution_id = deleted.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER workflow_executions_deleted AFTER DELETE ON durable.workflow_executions
    REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION durable.forget_journal();

CREATE TABLE durable.waits (
    id           uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES durable.workflow_executions (id) ON DELETE CASCADE,
    path         text NOT NULL,
    visit        integer NOT NULL,
    ordinal      integer NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('sleep', 'event', 'any', 'all', 'input', 'child')),
    names        text[] NOT NULL DEFAULT '{}',
    due_at       timestamptz,
    status       text NOT NULL DEFAULT 'open' CONSTRAINT waits_status CHECK (
        status IN ('open', 'answered', 'timed_out', 'cancelled')),
    attempt      integer,
    answer       jsonb,
    created_at   timestamptz NOT NULL,
    answered_at  timestamptz,
    UNIQUE (execution_id, path, visit, ordinal)
);
CREATE INDEX waits_due ON durable.waits (due_at) WHERE status = 'open' AND kind <> 'sleep';

CREATE TABLE durable.events (
    id           uuid PRIMARY KEY,
    execution_id uuid NOT NULL REFERENCES durable.workflow_executions (id) ON DELETE CASCADE,
    name         text NOT NULL,
    payload      jsonb,
    sent_at      timestamptz NOT NULL,
    consumed_at  timestamptz,
    consumed_by  uuid REFERENCES durable.waits (id) ON DELETE CASCADE
);
CREATE INDEX events_mailbox ON durable.events (execution_id, name, id) WHERE consumed_at IS NULL;

CREATE TABLE durable.once_results (
    execution_id uuid NOT NULL REFERENCES durable.workflow_executions (id) ON DELETE CASCADE,
    path         text NOT NULL,
    visit        integer NOT NULL,
    key          text NOT NULL,
    result       jsonb,
    PRIMARY KEY (execution_id, path, visit, key)
);

CREATE TABLE durable.pending_inputs (
    id            uuid PRIMARY KEY,
    execution_id  uuid NOT NULL REFERENCES durable.workflow_executions (id) ON DELETE CASCADE,
    wait_id       uuid NOT NULL REFERENCES durable.waits (id) ON DELETE CASCADE,
    name          text NOT NULL,
    type          text NOT NULL CHECK (
        type IN ('text', 'approval', 'choice', 'multi_choice', 'form')),
    prompt        text,
    fields        jsonb,
    choices       jsonb,
    metadata      jsonb,
    on_timeout    text NOT NULL DEFAULT 'resume' CHECK (on_timeout IN ('resume', 'fail')),
    status        text NOT NULL DEFAULT 'open' CONSTRAINT pending_inputs_status CHECK (
        status IN ('open', 'answered', 'timed_out', 'cancelled')),
    response      jsonb,
    timeout_at    timestamptz,
    timeout_value jsonb,
    created_at    timestamptz NOT NULL,
    completed_at  timestamptz
);
CREATE INDEX pending_inputs_open ON durable.pending_inputs (execution_id, name)
    WHERE status = 'open';

CREATE TABLE durable.scheduled_workflows (
    name                 text PRIMARY KEY,
    workflow             text NOT NULL,
    cron                 text NOT NULL,
    timezone             text NOT NULL DEFAULT 'UTC',
    input                jsonb,
    queue                text,
    enabled              boolean NOT NULL DEFAULT true,
    catch_up             text NOT NULL DEFAULT 'one' CHECK (catch_up IN ('skip', 'one', 'all')),
    overlap              text NOT NULL DEFAULT 'allow' CHECK (
        overlap IN ('allow', 'skip', 'cancel_previous')),
    jitter               double precision NOT NULL DEFAULT 0 CHECK (jitter >= 0),
    next_run_at          timestamptz,
    last_run_at          timestamptz,
    last_error           text,
    consecutive_failures integer NOT NULL DEFAULT 0,
    auto_disabled_at     timestamptz,
    inserted_at          timestamptz NOT NULL,
    updated_at           timestamptz NOT NULL
);
CREATE INDEX scheduled_workflows_due ON durable.scheduled_workflows (next_run_at) WHERE enabled;

CREATE TABLE durable.schedule_slots (
    schedule     text NOT NULL REFERENCES durable.scheduled_workflows (name) ON DELETE CASCADE,
    slot         timestamptz NOT NULL,
    execution_id uuid,
    PRIMARY KEY (schedule, slot)
);

CREATE TABLE durable.definitions (
    workflow     text NOT NULL,
    version      text NOT NULL,
    fingerprint  text NOT NULL,
    description  jsonb NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (workflow, version)
);

CREATE TABLE durable.nodes (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    hostname   text NOT NULL,
    pid        integer NOT NULL,
    beat       bigint NOT NULL DEFAULT 0,
    tree       jsonb,
    workflows  jsonb NOT NULL DEFAULT '[]',
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);

-- One row per incarnation of a queue manager; its id is what `locked_by` holds. Whether it lives is
-- judged by watching `beat` move, never by comparing `seen_at` with a clock.
CREATE TABLE durable.queue_managers (
    id         text PRIMARY KEY,
    node_id    text NOT NULL,
    queue      text NOT NULL,
    beat       bigint NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
) WITH (fillfactor = 50);

-- What operators set; node_id '' means every node, those that start later too.
CREATE TABLE durable.queues (
    queue       text NOT NULL,
    node_id     text NOT NULL DEFAULT '',
    paused      boolean NOT NULL DEFAULT false,
    concurrency integer CHECK (concurrency > 0),
    updated_at  timestamptz NOT NULL,
    PRIMARY KEY (queue, node_id)
);

CREATE TABLE durable.commands (
    id                 uuid PRIMARY KEY,
    node_id            text NOT NULL,
    verb               text NOT NULL,
    target             text NOT NULL,
    pid                integer,
    process_started_at timestamptz,
    arguments          jsonb NOT NULL DEFAULT '{}',
    status             text NOT NULL DEFAULT 'requested' CONSTRAINT commands_status CHECK (
        status IN ('requested', 'accepted', 'done', 'refused')),
    outcome            text,
    requested_at       timestamptz NOT NULL,
    deadline_at        timestamptz NOT NULL,
    finished_at        timestamptz
);
CREATE INDEX commands_open ON durable.commands (node_id, requested_at)
    WHERE status IN ('requested', 'accepted');

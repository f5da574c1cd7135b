-- Who is told of every move of an execution, and what is started when one has failed.

-- Subscribers keep their rows alive; while there is none, a move tells nobody, because every
-- notification makes commits wait for each other. A table cannot be asked in a trigger's WHEN, and
-- calling a function for every move costs a third of the move; so the first subscriber makes an empty
-- table, `subscribed`, whose existence the catalogue's cache answers, and the last one drops it.
CREATE TABLE durable.subscriptions (
    id          uuid PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

CREATE FUNCTION durable.tell_move(moved durable.workflow_executions) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM durable.subscriptions WHERE alive_until > clock_timestamp()) THEN
        PERFORM pg_notify('durable:moves', json_build_object(
            'execution_id', moved.id, 'workflow', moved.workflow, 'queue', moved.queue,
            'status', moved.status, 'step', left(moved.current_step, 2000),
            'at', extract(epoch FROM moved.updated_at))::text);
    END IF;
END
$$;

-- A workflow may name another that is started when an execution of it has failed, in the same
-- transaction and whoever wrote the end. A child of a block is a part of its parent.
CREATE FUNCTION durable.start_on_failure(failed durable.workflow_executions) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    hook jsonb;
BEGIN
    SELECT description -> 'on_failure' INTO hook
    FROM durable.definitions
    WHERE workflow = failed.workflow AND version = failed.version;
    IF hook IS NULL OR jsonb_typeof(hook) <> 'object' THEN
        RETURN;
    END IF;
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, scheduled_at, inserted_at, updated_at)
    VALUES (gen_random_uuid(), hook ->> 'workflow', failed.version, hook ->> 'queue',
            failed.priority,
            jsonb_build_object('execution_id', failed.id, 'workflow', failed.workflow,
                'version', failed.version, 'status', failed.status, 'error', failed.error,
                'input', failed.input),
            durable.now(), durable.now(), durable.now());
    PERFORM pg_notify('durable:queue', hook ->> 'queue');
END
$$;

CREATE FUNCTION durable.after_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM durable.tell_move(NEW);
    RETURN NULL;
END
$$;
CREATE TRIGGER workflow_executions_inserted AFTER INSERT ON durable.workflow_executions
    FOR EACH ROW WHEN (to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.after_insert();

CREATE FUNCTION durable.after_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.status = NEW.status THEN
        RETURN NULL;
    END IF;
    IF OLD.status IN ('pending', 'running', 'waiting')
       AND NEW.status IN ('failed', 'cancelled', 'compensating') THEN
        PERFORM durable.close_waits(NEW.id);
    END IF;
    IF NEW.parent_index IS NULL
       AND NEW.status IN ('failed', 'compensated', 'compensation_failed') THEN
        PERFORM durable.start_on_failure(NEW);
    END IF;
    IF to_regclass('durable.subscribed') IS NOT NULL THEN
        PERFORM durable.tell_move(NEW);
    END IF;
    RETURN NULL;
END
$$;
-- One trigger and one short condition for all of it, because PostgreSQL reads the condition of each
-- trigger from its stored text once a statement. A claim, a wait, a wake and an end that went well
-- ask for nothing else.
CREATE TRIGGER workflow_executions_moved AFTER UPDATE OF status ON durable.workflow_executions
    FOR EACH ROW WHEN (
        NEW.status NOT IN ('pending', 'running', 'waiting', 'completed')
        OR to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.after_move();

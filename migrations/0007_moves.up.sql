-- Who is told of every move of an execution, and what is started when one has failed.

-- Subscribers keep their rows alive; while there is none, a move tells nobody, because every
-- notification makes commits wait for each other. A table cannot be asked in a trigger's WHEN, and
-- calling a function for every move costs a third of the move; so the first subscriber makes an empty
-- table, `subscribed`, whose existence the catalogue's cache answers, and the last one drops it.
CREATE TABLE durable.subscriptions (
    id          uuid PRIMARY KEY,
    alive_until timestamptz NOT NULL
);

CREATE FUNCTION durable.tell_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM durable.subscriptions WHERE alive_until > clock_timestamp()) THEN
        PERFORM pg_notify('durable:moves', json_build_object(
            'execution_id', NEW.id, 'workflow', NEW.workflow, 'queue', NEW.queue,
            'status', NEW.status, 'step', left(NEW.current_step, 2000),
            'at', extract(epoch FROM NEW.updated_at))::text);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER workflow_executions_inserted AFTER INSERT ON durable.workflow_executions
    FOR EACH ROW WHEN (to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.tell_move();
CREATE TRIGGER workflow_executions_moved AFTER UPDATE OF status ON durable.workflow_executions
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status AND to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.tell_move();

-- A workflow may name another that is started when an execution of it has failed, in the same
-- transaction and whoever wrote the end. A child of a block is a part of its parent.
CREATE FUNCTION durable.start_on_failure() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    hook jsonb;
BEGIN
    SELECT description -> 'on_failure' INTO hook
    FROM durable.definitions
    WHERE workflow = NEW.workflow AND version = NEW.version;
    IF hook IS NULL OR jsonb_typeof(hook) <> 'object' THEN
        RETURN NULL;
    END IF;
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, scheduled_at, inserted_at, updated_at)
    VALUES (gen_random_uuid(), hook ->> 'workflow', NEW.version, hook ->> 'queue', NEW.priority,
            jsonb_build_object('execution_id', NEW.id, 'workflow', NEW.workflow,
                'version', NEW.version, 'status', NEW.status, 'error', NEW.error,
                'input', NEW.input),
            durable.now(), durable.now(), durable.now());
    PERFORM pg_notify('durable:queue', hook ->> 'queue');
    RETURN NULL;
END
$$;
CREATE TRIGGER workflow_executions_failed AFTER UPDATE OF status ON durable.workflow_executions
    FOR EACH ROW WHEN (
        OLD.status IS DISTINCT FROM NEW.status AND NEW.parent_index IS NULL
        AND NEW.status IN ('failed', 'compensated', 'compensation_failed'))
    EXECUTE FUNCTION durable.start_on_failure();

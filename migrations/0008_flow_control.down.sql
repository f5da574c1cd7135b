-- Those that wait for their turn all have it now.
DROP TABLE durable.queue_limits;

UPDATE durable.workflow_executions
SET status = 'pending', scheduled_at = durable.now(), updated_at = durable.now()
WHERE concurrency_key IS NOT NULL AND status = 'waiting' AND started_at IS NULL;
DELETE FROM durable.waits WHERE kind = 'turn';
ALTER TABLE durable.waits DROP CONSTRAINT waits_kind_check;
ALTER TABLE durable.waits ADD CONSTRAINT waits_kind_check
    CHECK (kind IN ('sleep', 'event', 'any', 'all', 'input', 'child'));

CREATE OR REPLACE FUNCTION durable.after_move() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP TRIGGER workflow_executions_moved ON durable.workflow_executions;
CREATE TRIGGER workflow_executions_moved AFTER UPDATE OF status ON durable.workflow_executions
    FOR EACH ROW WHEN (
        NEW.status NOT IN ('pending', 'running', 'waiting', 'completed')
        OR to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.after_move();
DROP FUNCTION durable.pass_turns(text);

ALTER TABLE durable.workflow_executions
    DROP COLUMN concurrency_key,
    DROP COLUMN concurrency_limit;

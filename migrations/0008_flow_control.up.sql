-- Executions that take turns, and queues with limits that hold for all nodes together.

-- An execution with a concurrency key takes a turn when it is started, and passes it on at its end.
-- While every turn of the key is taken, the next one is `waiting` and was never started, with an open
-- wait of the kind `turn`, so that nobody takes it for a zombie.
ALTER TABLE durable.workflow_executions
    ADD COLUMN concurrency_key text,
    ADD COLUMN concurrency_limit integer CHECK (concurrency_limit >= 1);
CREATE INDEX workflow_executions_of_key
    ON durable.workflow_executions (concurrency_key, priority DESC, inserted_at, id)
    WHERE concurrency_key IS NOT NULL AND completed_at IS NULL;

ALTER TABLE durable.waits DROP CONSTRAINT waits_kind_check;
ALTER TABLE durable.waits ADD CONSTRAINT waits_kind_check
    CHECK (kind IN ('sleep', 'event', 'any', 'all', 'input', 'child', 'turn'));

-- Whoever starts with a key or passes its turn on holds this lock to the end of the transaction, so
-- that each sees what the others have done. What somebody else has locked is passed over; a sibling
-- process calls this again from time to time.
CREATE FUNCTION durable.pass_turns(key text) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    taken integer;
    passed integer := 0;
    next record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('durable:turn ' || key, 0));
    SELECT count(*) INTO taken
    FROM durable.workflow_executions e
    WHERE e.concurrency_key = key AND e.completed_at IS NULL
      AND NOT (e.status = 'waiting' AND e.started_at IS NULL);
    FOR next IN
        SELECT e.id, e.queue, e.concurrency_limit
        FROM durable.workflow_executions e
        WHERE e.concurrency_key = key AND e.completed_at IS NULL
          AND e.status = 'waiting' AND e.started_at IS NULL
        ORDER BY e.priority DESC, e.inserted_at, e.id
        FOR UPDATE SKIP LOCKED
    LOOP
        EXIT WHEN taken >= next.concurrency_limit;
        UPDATE durable.waits SET status = 'answered', answered_at = durable.now()
        WHERE execution_id = next.id AND kind = 'turn' AND status = 'open';
        UPDATE durable.workflow_executions
        SET status = 'pending', scheduled_at = durable.now(), updated_at = durable.now()
        WHERE id = next.id;
        PERFORM pg_notify('durable:queue', next.queue);
        taken := taken + 1;
        passed := passed + 1;
    END LOOP;
    RETURN passed;
END
$$;

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
    IF NEW.concurrency_key IS NOT NULL AND NEW.completed_at IS NOT NULL THEN
        PERFORM durable.pass_turns(NEW.concurrency_key);
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
        OR NEW.concurrency_key IS NOT NULL
        OR to_regclass('durable.subscribed') IS NOT NULL)
    EXECUTE FUNCTION durable.after_move();

-- What holds for a queue over all nodes: so many executions at once, and so many claims in a time, from
-- a bucket that refills evenly and holds as many as `rate_count`. What an operator has set outlasts
-- what configurations say.
CREATE TABLE durable.queue_limits (
    queue        text PRIMARY KEY,
    concurrency  integer CHECK (concurrency >= 1),
    rate_count   integer CHECK (rate_count >= 1),
    rate_seconds double precision CHECK (rate_seconds > 0),
    by_operator  boolean NOT NULL,
    tokens       double precision NOT NULL DEFAULT 0,
    refilled_at  timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL,
    CHECK ((rate_count IS NULL) = (rate_seconds IS NULL))
);

-- As it was: what is locked is passed over, and the look of the interval finds it.
CREATE OR REPLACE FUNCTION durable.pass_turns(key text) RETURNS integer LANGUAGE plpgsql AS $$
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

DROP FUNCTION durable.last_position(uuid);

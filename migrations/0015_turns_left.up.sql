-- Whoever passes turns on leaves out an execution that somebody has locked. Nobody would come back to
-- it but the look of the interval: so a sibling is told, and looks until the lock is gone.
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
    SELECT e.concurrency_limit INTO next
    FROM durable.workflow_executions e
    WHERE e.concurrency_key = key AND e.completed_at IS NULL
      AND e.status = 'waiting' AND e.started_at IS NULL
    ORDER BY e.priority DESC, e.inserted_at, e.id
    LIMIT 1;
    IF next.concurrency_limit > taken THEN
        PERFORM pg_notify('durable:timeout', 'turn');
    END IF;
    RETURN passed;
END
$$;

-- How far an execution has come, as a statement of its own sees it: behind a lock that was waited for,
-- the statement that calls this would not see the checkpoint that had the lock.
CREATE FUNCTION durable.last_position(execution uuid) RETURNS integer LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(max(s.position), 0)
    FROM durable.step_executions s
    WHERE s.execution_id = $1 AND s.status = 'completed'
$$;

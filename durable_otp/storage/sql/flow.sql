-- Starts that are held back: by the turns of a key, until it is quiet, or because one was there lately.

-- name: lock_turns
-- The same lock as in `pass_turns`: to the end of the transaction nobody else takes a turn of the key.
SELECT pg_advisory_xact_lock(hashtextextended('durable:turn ' || %(key)s, 0));

-- name: turns_taken
SELECT count(*)::integer AS taken
FROM durable.workflow_executions e
WHERE e.concurrency_key = %(key)s AND e.completed_at IS NULL
  AND NOT (e.status = 'waiting' AND e.started_at IS NULL);

-- name: start_held_back
-- payload: input
-- As `start_one`; one that has to wait for its turn begins its life waiting.
INSERT INTO durable.workflow_executions
    (id, workflow, version, queue, priority, input, idempotency_key, concurrency_key,
     concurrency_limit, status, scheduled_at, deadline_at, inserted_at, updated_at)
VALUES (%(id)s::uuid, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input)s::jsonb, %(key)s,
        %(turns_of)s, %(limit)s, CASE WHEN %(waits)s::boolean THEN 'waiting' ELSE 'pending' END,
        CASE WHEN NOT %(waits)s::boolean
             THEN coalesce(%(scheduled_at)s::timestamptz, durable.now()
                           + make_interval(secs => %(quiet)s::double precision)) END,
        durable.now() + make_interval(secs => %(timeout)s::double precision),
        durable.now(), durable.now())
ON CONFLICT DO NOTHING
RETURNING CASE WHEN scheduled_at < durable.now() + interval '5 minutes'
               THEN pg_notify('durable:queue', queue) END,
          CASE WHEN deadline_at IS NOT NULL THEN pg_notify('durable:timeout', '') END;

-- name: wait_for_turn
INSERT INTO durable.waits (id, execution_id, path, visit, ordinal, kind, created_at)
VALUES (%(wait_id)s::uuid, %(id)s::uuid, '', 0, 0, 'turn', durable.now());

-- name: pass_all_turns
-- A turn that was free and that nobody took: whoever ended found the next one locked.
SELECT coalesce(sum(durable.pass_turns(waiting.key)), 0)::integer AS passed
FROM (SELECT DISTINCT concurrency_key AS key
      FROM durable.workflow_executions
      WHERE concurrency_key IS NOT NULL AND completed_at IS NULL
        AND status = 'waiting' AND started_at IS NULL
      LIMIT %(batch_size)s) AS waiting;

-- name: free_key
-- A key that was given longer ago than it is to be unique for.
UPDATE durable.workflow_executions
SET idempotency_key = NULL
WHERE workflow = %(workflow)s AND idempotency_key = %(key)s
  AND inserted_at <= durable.now() - make_interval(secs => %(unique_for)s::double precision);

-- name: key_holder
-- Who has a key, locked; it may still be put off while nobody has begun it.
SELECT id::text, status = 'pending' AND started_at IS NULL AS may_be_put_off
FROM durable.workflow_executions
WHERE workflow = %(workflow)s AND idempotency_key = %(key)s
FOR UPDATE;

-- name: put_off
-- payload: input
UPDATE durable.workflow_executions
SET input = %(input)s::jsonb, queue = %(queue)s, priority = %(priority)s, updated_at = durable.now(),
    scheduled_at = durable.now() + make_interval(secs => %(quiet)s::double precision)
WHERE id = %(id)s::uuid;

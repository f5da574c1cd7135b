-- How executions begin and how they are called off. What is due soon is told as well: a manager that
-- sleeps until the earliest time it knows of has to learn of an earlier one. What is due later than any
-- manager sleeps (`queue_manager.LONGEST_SLEEP`) is told to nobody: they will have looked by then.

-- name: start_one
-- payload: input
-- The first try of one without a key: nothing can be there already, and asking would cost a quarter
-- of it all.
INSERT INTO durable.workflow_executions
    (id, workflow, version, queue, priority, input, scheduled_at, deadline_at, inserted_at,
     updated_at)
VALUES (%(id)s::uuid, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input)s::jsonb,
        coalesce(%(scheduled_at)s::timestamptz, durable.now()),
        durable.now() + make_interval(secs => %(timeout)s::double precision),
        durable.now(), durable.now())
RETURNING CASE WHEN scheduled_at < durable.now() + interval '5 minutes'
               THEN pg_notify('durable:queue', queue) END,
          CASE WHEN deadline_at IS NOT NULL THEN pg_notify('durable:timeout', '') END;

-- name: start_unless_there
-- payload: input
-- The same for one with a key, or that was tried before. No row in the answer: it is there already.
INSERT INTO durable.workflow_executions
    (id, workflow, version, queue, priority, input, idempotency_key, scheduled_at, deadline_at,
     inserted_at, updated_at)
VALUES (%(id)s::uuid, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input)s::jsonb, %(key)s,
        coalesce(%(scheduled_at)s::timestamptz, durable.now()),
        durable.now() + make_interval(secs => %(timeout)s::double precision),
        durable.now(), durable.now())
ON CONFLICT DO NOTHING
RETURNING CASE WHEN scheduled_at < durable.now() + interval '5 minutes'
               THEN pg_notify('durable:queue', queue) END,
          CASE WHEN deadline_at IS NOT NULL THEN pg_notify('durable:timeout', '') END;

-- name: start_published
-- payload: input
-- One without a key, by the name of its workflow alone: the definition is looked up on the way. No
-- row in the answer: nothing is published under that name.
INSERT INTO durable.workflow_executions
    (id, workflow, version, queue, priority, input, scheduled_at, deadline_at, inserted_at,
     updated_at)
SELECT %(id)s::uuid, newest.workflow, newest.version,
       coalesce(%(queue)s, newest.description ->> 'queue'),
       coalesce(%(priority)s::integer, (newest.description ->> 'priority')::integer),
       %(input)s::jsonb, coalesce(%(scheduled_at)s::timestamptz, durable.now()),
       durable.now() + make_interval(
           secs => (newest.description ->> 'timeout')::double precision),
       durable.now(), durable.now()
FROM (
    SELECT workflow, version, description
    FROM durable.definitions
    WHERE workflow = %(workflow)s
    ORDER BY published_at DESC, version DESC
    LIMIT 1
) AS newest
RETURNING CASE WHEN scheduled_at < durable.now() + interval '5 minutes'
               THEN pg_notify('durable:queue', queue) END,
          CASE WHEN deadline_at IS NOT NULL THEN pg_notify('durable:timeout', '') END;

-- name: start_new
-- payload: inputs
-- The first try of any number without keys. Each list comes as one text and is cut here, because an
-- array would be quoted item by item: no JSON text holds the separator, and none is empty, which
-- therefore stands for NULL. Nothing can be there already, and asking would cost a fifth of it all.
WITH inserted AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, scheduled_at, deadline_at, inserted_at,
         updated_at)
    SELECT given.id, %(workflow)s, %(version)s, %(queue)s, %(priority)s, given.input::jsonb,
           coalesce(%(scheduled_at)s::timestamptz, durable.now()),
           durable.now() + make_interval(secs => %(timeout)s::double precision),
           durable.now(), durable.now()
    FROM unnest(string_to_array(%(ids)s, ',')::uuid[],
                string_to_array(%(inputs)s, E'\x1e', '')) AS given (id, input)
)
SELECT CASE WHEN coalesce(%(scheduled_at)s::timestamptz, durable.now())
                 < durable.now() + interval '5 minutes'
            THEN pg_notify('durable:queue', %(queue)s) END,
       CASE WHEN %(timeout)s::double precision IS NOT NULL
            THEN pg_notify('durable:timeout', '') END;

-- name: start_executions
-- payload: inputs
-- The same for what may be there already, by its key or because an earlier try was committed; the
-- answer says how many are new. The rows are written in the order of keys, so that two callers with
-- the same keys do not wait for each other in a circle.
WITH inserted AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, idempotency_key, scheduled_at, deadline_at,
         inserted_at, updated_at)
    SELECT given.id, %(workflow)s, %(version)s, %(queue)s, %(priority)s, given.input::jsonb, given.key,
           coalesce(%(scheduled_at)s::timestamptz, durable.now()),
           durable.now() + make_interval(secs => %(timeout)s::double precision),
           durable.now(), durable.now()
    FROM unnest(string_to_array(%(ids)s, ',')::uuid[],
                string_to_array(%(inputs)s, E'\x1e', ''), string_to_array(%(keys)s, E'\x1e', ''))
        WITH ORDINALITY AS given (id, input, key, number)
    ORDER BY given.key, given.number
    ON CONFLICT DO NOTHING
    RETURNING scheduled_at, deadline_at
)
SELECT count(*) AS started,
       CASE WHEN min(scheduled_at) < durable.now() + interval '5 minutes'
            THEN pg_notify('durable:queue', %(queue)s) END,
       CASE WHEN bool_or(deadline_at IS NOT NULL) THEN pg_notify('durable:timeout', '') END
FROM inserted;

-- name: started_executions
-- What became of starts: the row with the id, or the one that has the key. Neither: whoever had the
-- key is gone meanwhile, or is not committed yet.
SELECT given.id::text AS given_id, coalesce(mine.id, same_key.id)::text AS id
FROM unnest(%(ids)s::uuid[], %(keys)s::text[]) AS given (id, key)
LEFT JOIN durable.workflow_executions mine ON mine.id = given.id
LEFT JOIN durable.workflow_executions same_key
    ON same_key.workflow = %(workflow)s AND same_key.idempotency_key = given.key;

-- name: watch
-- Ask for a notification at the end. An end that came first is seen by whoever looks afterwards.
UPDATE durable.workflow_executions
SET watched = true
WHERE id = %(id)s::uuid AND NOT watched AND completed_at IS NULL;

-- name: lock_execution
SELECT status FROM durable.workflow_executions WHERE id = %(id)s::uuid FOR UPDATE;

-- name: lock_children
-- Their parents are locked already, so no child can be added meanwhile.
SELECT id::text FROM durable.workflow_executions
WHERE parent_id = ANY(%(parents)s::uuid[])
ORDER BY id
FOR UPDATE;

-- name: cancel_executions
-- move: cancel
-- payload: error
-- The rows are locked by the same transaction. A holder is told, so that it stops the step.
WITH cancelled AS (
    UPDATE durable.workflow_executions e
    SET status = 'cancelled', error = %(error)s::jsonb, completed_at = durable.now(),
        updated_at = durable.now(), lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM durable.workflow_executions before
    WHERE e.id = ANY(%(ids)s::uuid[]) AND before.id = e.id
      AND e.status IN ('pending', 'running', 'waiting')
    RETURNING e.id, e.watched, e.parent_id, before.lock_token AS held_under
)
SELECT id::text, 'cancelled' AS status, parent_id::text,
       CASE WHEN held_under IS NOT NULL
            THEN pg_notify('durable:cancel', id::text || ' ' || held_under::text) END,
       CASE WHEN watched THEN pg_notify('durable:done', id::text) END
FROM cancelled;

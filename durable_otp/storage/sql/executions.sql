-- How executions begin and how they are called off.

-- name: start_executions
-- One statement for any number. A row that is there already, by its idempotency key or because an
-- earlier try had been committed, is answered instead; in the order of keys, so that two callers
-- with the same keys do not wait for each other. An id is missing in the answer when the row that
-- has the key was committed only after this statement began: look again.
WITH given AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(inputs)s::text[], %(keys)s::text[])
        WITH ORDINALITY AS given (id, input, key, number)
), inserted AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, idempotency_key, scheduled_at, deadline_at,
         inserted_at, updated_at)
    SELECT given.id, %(workflow)s, %(version)s, %(queue)s, %(priority)s, given.input::jsonb, given.key,
           coalesce(%(scheduled_at)s::timestamptz, durable.now()),
           durable.now() + make_interval(secs => %(timeout)s::double precision),
           durable.now(), durable.now()
    FROM given
    ORDER BY given.key, given.number
    ON CONFLICT DO NOTHING
    RETURNING id, idempotency_key, queue, scheduled_at
), told AS (
    SELECT pg_notify('durable:queue', due.queue)
    FROM (SELECT DISTINCT queue FROM inserted WHERE scheduled_at <= durable.now()) AS due
    UNION ALL
    SELECT pg_notify('durable:timeout', '')
    WHERE %(timeout)s::double precision IS NOT NULL AND EXISTS (SELECT FROM inserted)
)
SELECT given.id::text AS given_id, coalesce(mine.id, twin.id, repeated.id, same_key.id)::text AS id,
       (SELECT count(*) FROM told) AS told
FROM given
LEFT JOIN inserted mine ON mine.id = given.id
LEFT JOIN inserted twin ON twin.idempotency_key = given.key
LEFT JOIN durable.workflow_executions repeated ON repeated.id = given.id
LEFT JOIN durable.workflow_executions same_key
    ON same_key.workflow = %(workflow)s AND same_key.idempotency_key = given.key
ORDER BY given.number;

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

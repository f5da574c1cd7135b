-- What holds for a queue over all nodes. Whoever claims within limits locks the queue's row first, and
-- counts afterwards, in a statement that sees what the one before has done.

-- name: take_queue
SELECT concurrency,
       floor(least(rate_count, tokens + rate_count / rate_seconds * greatest(0,
           extract(epoch FROM durable.now() - refilled_at)::double precision))) AS tokens,
       rate_seconds / rate_count AS seconds_each
FROM durable.queue_limits
WHERE queue = %(queue)s
FOR UPDATE;

-- name: held_of_queue
SELECT count(*)::integer AS held
FROM durable.workflow_executions
WHERE locked_by IS NOT NULL AND queue = %(queue)s;

-- name: use_tokens
-- What has come in since the last time is kept to the fraction.
UPDATE durable.queue_limits
SET tokens = least(rate_count, tokens + rate_count / rate_seconds * greatest(0,
        extract(epoch FROM durable.now() - refilled_at)::double precision)) - %(used)s,
    refilled_at = greatest(refilled_at, durable.now())
WHERE queue = %(queue)s AND rate_count IS NOT NULL;

-- name: set_limits
-- A new rate begins with a full bucket. What an operator has set is only another operator's to change.
INSERT INTO durable.queue_limits
    (queue, concurrency, rate_count, rate_seconds, by_operator, tokens, refilled_at, updated_at)
VALUES (%(queue)s, %(concurrency)s, %(rate_count)s, %(rate_seconds)s, %(by_operator)s,
        coalesce(%(rate_count)s, 0), durable.now(), durable.now())
ON CONFLICT (queue) DO UPDATE
SET concurrency = excluded.concurrency, rate_count = excluded.rate_count,
    rate_seconds = excluded.rate_seconds, by_operator = excluded.by_operator,
    tokens = CASE WHEN (queue_limits.rate_count, queue_limits.rate_seconds)
                       IS NOT DISTINCT FROM (excluded.rate_count, excluded.rate_seconds)
                  THEN queue_limits.tokens ELSE excluded.tokens END,
    updated_at = durable.now()
WHERE excluded.by_operator OR NOT queue_limits.by_operator
RETURNING pg_notify('durable:command', '');

-- name: remove_limits
DELETE FROM durable.queue_limits WHERE queue = %(queue)s
RETURNING pg_notify('durable:command', '');

-- name: all_limits
SELECT queue, concurrency, rate_count, rate_seconds FROM durable.queue_limits ORDER BY queue;

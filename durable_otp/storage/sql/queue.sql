-- The claims on workflow_executions: who works on what, and how a claim ends without a result.
-- Every statement over several rows locks them in id order or skips what is locked.

-- name: fetch_jobs
-- move: claim
-- The distinct priorities are found by stepping along the index, and each is scanned only up to
-- now: rows that are not due yet cost nothing however many there are. The claimed ids go through an
-- array, because a join with them would be planned as a scan of the whole table once the statement is
-- prepared. Answered in no order: sorting here would copy every row twice more. A first claim starts
-- an execution in the same instant as it locks it.
-- With places to go on from, what was claimed before them is not passed again: while some transaction
-- stays open, its index entries cannot be removed, nor marked as dead.
WITH RECURSIVE priorities AS (
    (SELECT e.priority
     FROM durable.workflow_executions e
     WHERE %(priorities)s::integer[] IS NULL AND e.queue = %(queue)s AND e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
     ORDER BY e.priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT e.priority
            FROM durable.workflow_executions e
            WHERE e.queue = %(queue)s AND e.status IN ('pending', 'compensating')
              AND e.lock_token IS NULL AND e.priority < p.priority
            ORDER BY e.priority DESC LIMIT 1)
    FROM priorities p
    WHERE p.priority IS NOT NULL
), places AS (
    SELECT priority, '-infinity'::timestamptz AS scheduled_at,
           '00000000-0000-0000-0000-000000000000'::uuid AS id
    FROM priorities WHERE priority IS NOT NULL
    UNION ALL
    SELECT * FROM unnest(%(priorities)s::integer[], %(instants)s::timestamptz[], %(ids)s::uuid[])
)
UPDATE durable.workflow_executions c
SET status = CASE c.status WHEN 'pending' THEN 'running' ELSE c.status END,
    locked_by = %(node_id)s, locked_at = durable.now(), lock_token = gen_random_uuid(),
    started_at = coalesce(c.started_at, durable.now()), begun = NULL, updated_at = durable.now()
WHERE c.id = ANY (ARRAY(
    SELECT claimable.id
    FROM places p
    CROSS JOIN LATERAL (
        SELECT e.id
        FROM durable.workflow_executions e
        WHERE e.queue = %(queue)s AND e.priority = p.priority
          AND e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
          AND e.scheduled_at <= durable.now() AND (e.scheduled_at, e.id) > (p.scheduled_at, p.id)
          AND (%(workflows)s::text[] IS NULL
               OR (e.workflow::text, e.version) IN (
                   SELECT * FROM unnest(%(workflows)s::text[], %(versions)s::text[])))
        ORDER BY e.scheduled_at, e.id
        LIMIT %(limit)s
        FOR UPDATE SKIP LOCKED
    ) AS claimable
    LIMIT %(limit)s))
RETURNING c.id::text, c.workflow, c.version, c.queue, c.priority, c.input::text AS input,
          c.scheduled_at, c.current_step, c.lock_token::text, c.crashes,
          c.interruptions > 0 AND NOT EXISTS (
              SELECT FROM durable.step_executions s
              WHERE s.execution_id = c.id AND s.status = 'completed'
                AND s.position > c.interruption_position) AS alone,
          c.started_at < c.locked_at AS begun_before,
          coalesce(c.home_queue, c.queue) AS home_queue,
          c.status = 'running' AND c.parent_index IS NULL AS is_plain;

-- name: ack
-- move: complete
-- fenced
UPDATE durable.workflow_executions
SET status = 'completed', completed_at = durable.now(), updated_at = durable.now(),
    current_step = NULL, lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
RETURNING id::text, status, parent_id::text,
          CASE WHEN watched THEN pg_notify('durable:done', id::text) END;

-- name: nack
-- move: fail, compensate
-- fenced
-- payload: error
WITH held AS MATERIALIZED (
    SELECT e.id FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
    FOR UPDATE OF e
), decided AS MATERIALIZED (
    SELECT held.id, durable.failed_status(held.id) AS failed_status FROM held
), done AS (
    UPDATE durable.workflow_executions e
    SET status = decided.failed_status, error = %(error)s::jsonb, updated_at = durable.now(),
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        scheduled_at = CASE decided.failed_status WHEN 'failed' THEN e.scheduled_at
                                                  ELSE durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id
)
SELECT id::text, status, CASE WHEN status = 'failed' THEN parent_id::text END AS parent_id,
       CASE WHEN status = 'compensating' THEN pg_notify('durable:queue', queue)
            WHEN watched THEN pg_notify('durable:done', id::text) END
FROM done;

-- name: reschedule
-- move: retry_later
-- fenced
UPDATE durable.workflow_executions
SET status = 'pending', scheduled_at = %(run_at)s, updated_at = durable.now(),
    lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
RETURNING id::text, status, NULL::text AS parent_id,
          CASE WHEN scheduled_at < durable.now() + interval '5 minutes'
               THEN pg_notify('durable:queue', queue) END;

-- name: release
-- move: release
-- fenced
-- Given back unharmed: a graceful stop counts nothing. A compensating row keeps its status, and
-- whoever is given back keeps its turn.
WITH held AS MATERIALIZED (
    SELECT e.id
    FROM durable.workflow_executions e
    JOIN unnest(%(ids)s::uuid[], %(lock_tokens)s::uuid[]) AS claim (id, lock_token)
        ON claim.id = e.id AND claim.lock_token = e.lock_token
    WHERE e.status IN ('running', 'compensating')
    ORDER BY e.id
    FOR UPDATE OF e
), released AS (
    UPDATE durable.workflow_executions e
    SET status = CASE e.status WHEN 'running' THEN 'pending' ELSE e.status END,
        updated_at = durable.now(),
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM held
    WHERE e.id = held.id
    RETURNING e.id, e.queue
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM released) q
)
SELECT r.id::text, (SELECT count(*) FROM told) AS told FROM released r;

-- name: set_aside
-- move: release
-- fenced
-- Given back unharmed by a worker that cannot read its payloads: for later, so that one that can comes
-- by meanwhile. Nothing is counted, and nothing is told.
UPDATE durable.workflow_executions
SET status = CASE status WHEN 'running' THEN 'pending' ELSE status END,
    scheduled_at = durable.now() + make_interval(secs => %(delay)s), updated_at = durable.now(),
    lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid
  AND status IN ('running', 'compensating')
RETURNING id::text;

-- name: status_of
SELECT status, lock_token::text FROM durable.workflow_executions WHERE id = %(id)s::uuid;

-- name: heartbeat_many
-- fenced
-- SKIP LOCKED: a row whose checkpoint is being written is alive enough, and must not hold up the
-- others. NO KEY UPDATE: does not wait for the journal's foreign keys. A locked row answers 'ok'.
-- A manager adds the step that its worker has begun, and for how many seconds it has run.
WITH beating AS (
    SELECT held.id, held.lock_token, held.begun
    FROM unnest(%(ids)s::uuid[], %(lock_tokens)s::uuid[], %(begun)s::text[]) AS held (id, lock_token, begun)
), alive AS MATERIALIZED (
    SELECT e.id, beating.begun
    FROM durable.workflow_executions e
    JOIN beating ON beating.id = e.id AND beating.lock_token = e.lock_token
    WHERE e.status IN ('running', 'compensating')
    FOR NO KEY UPDATE OF e SKIP LOCKED
), refreshed AS (
    UPDATE durable.workflow_executions e
    SET locked_at = durable.now(),
        begun = coalesce(
            alive.begun::jsonb - 'seconds' || jsonb_build_object('started_at', durable.now()
                - make_interval(secs => coalesce((alive.begun::jsonb ->> 'seconds')::float8, 0))),
            e.begun)
    FROM alive
    WHERE e.id = alive.id
)
SELECT beating.id::text, beating.lock_token::text,
       CASE
           WHEN e.lock_token = beating.lock_token AND e.status IN ('running', 'compensating') THEN 'ok'
           WHEN e.status IN ('running', 'compensating') AND e.lock_token IS NOT NULL THEN 'fenced'
           ELSE 'not_found'
       END AS settled
FROM beating LEFT JOIN durable.workflow_executions e ON e.id = beating.id;

-- name: recover_stale_locks
-- move: interrupt, fail, compensate
-- A claim whose holder has not refreshed it for the timeout goes back and is counted. `live` names
-- the managers whose own beat is moving: their claims are theirs, however old they look. In the order
-- of the index: in that of the ids, the planner walks all ids there are in the hope of meeting a few
-- claims (7.5 s with 6 million rows). What is locked is skipped, so no order is needed. Who loses its
-- claim once keeps its turn; who loses it again may be the reason, and goes behind the others.
WITH stale AS MATERIALIZED (
    SELECT e.id, e.status, e.interruptions
    FROM durable.workflow_executions e
    WHERE e.locked_by IS NOT NULL
      AND e.locked_at < durable.now() - make_interval(secs => %(timeout)s)
      AND NOT e.locked_by = ANY(%(live)s::text[])
    ORDER BY e.locked_by
    LIMIT %(batch_size)s
    FOR UPDATE OF e SKIP LOCKED
), decided AS MATERIALIZED (
    SELECT stale.*, durable.last_position(stale.id) AS position, CASE WHEN stale.status = 'running'
                          AND stale.interruptions + 1 >= %(max_interruptions)s
                         THEN durable.failed_status(stale.id) END AS failed_status
    FROM stale
), recovered AS (
    UPDATE durable.workflow_executions e
    SET status = CASE
            WHEN e.status = 'compensating' THEN e.status
            WHEN decided.failed_status IS NOT NULL THEN decided.failed_status
            ELSE 'pending' END,
        error = CASE
            WHEN decided.failed_status IS NOT NULL
            THEN jsonb_build_object('type', 'interrupted_too_often', 'message', format(
                'The claim was lost %%s times with its manager or node.', e.interruptions + 1))
            ELSE e.error END,
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        scheduled_at = CASE WHEN e.interruptions = 0 AND decided.failed_status IS NULL
                            THEN coalesce(e.scheduled_at, durable.now()) ELSE durable.now() END,
        updated_at = durable.now(), interruptions = e.interruptions + 1, interruption_position = decided.position,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.queue, e.status, e.watched, e.parent_id
), told AS (
    SELECT pg_notify('durable:queue', queue)
    FROM (SELECT DISTINCT queue FROM recovered WHERE status <> 'failed') q
    UNION ALL
    SELECT pg_notify('durable:done', id::text) FROM recovered WHERE status = 'failed' AND watched
)
SELECT r.id::text, r.status, CASE WHEN r.status = 'failed' THEN r.parent_id::text END AS parent_id,
       (SELECT count(*) FROM told) AS told
FROM recovered r;

-- name: stale_claims_are_left
-- After a round that was not full: then somebody had them locked.
SELECT EXISTS (
    SELECT FROM durable.workflow_executions e
    WHERE e.locked_by IS NOT NULL
      AND e.locked_at < durable.now() - make_interval(secs => %(timeout)s)
      AND NOT e.locked_by = ANY(%(live)s::text[])) AS found;

-- name: recover_claims
-- move: interrupt, fail, compensate
-- The same for every claim of holders that are known to be dead, at once and whatever its age. The
-- position is that of what was committed by the time the row was locked: a function's own snapshot.
WITH held AS MATERIALIZED (
    SELECT e.id FROM durable.workflow_executions e WHERE e.locked_by = ANY(%(holders)s::text[])
), lost AS MATERIALIZED (
    SELECT e.id, e.status, e.interruptions
    FROM durable.workflow_executions e
    WHERE e.id = ANY(ARRAY(SELECT held.id FROM held)) AND e.locked_by = ANY(%(holders)s::text[])
      AND NOT e.lock_token = ANY(%(kept)s::uuid[])
    ORDER BY e.id
    LIMIT %(batch_size)s
    FOR UPDATE OF e
), decided AS MATERIALIZED (
    SELECT lost.*, durable.last_position(lost.id) AS position, CASE WHEN lost.status = 'running'
                          AND lost.interruptions + %(counted)s >= %(max_interruptions)s
                         THEN durable.failed_status(lost.id) END AS failed_status
    FROM lost
), recovered AS (
    UPDATE durable.workflow_executions e
    SET status = CASE
            WHEN e.status = 'compensating' THEN e.status
            WHEN decided.failed_status IS NOT NULL THEN decided.failed_status
            ELSE 'pending' END,
        error = CASE
            WHEN decided.failed_status IS NOT NULL
            THEN jsonb_build_object('type', 'interrupted_too_often', 'message', format(
                'The claim was lost %%s times with its manager or node.',
                e.interruptions + %(counted)s))
            ELSE e.error END,
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        scheduled_at = CASE WHEN e.interruptions * %(counted)s = 0 AND decided.failed_status IS NULL
                            THEN coalesce(e.scheduled_at, durable.now()) ELSE durable.now() END,
        updated_at = durable.now(), interruptions = e.interruptions + %(counted)s,
        interruption_position = CASE %(counted)s WHEN 0 THEN e.interruption_position
                                                 ELSE decided.position END,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.queue, e.status, e.watched, e.parent_id
), told AS (
    SELECT pg_notify('durable:queue', queue)
    FROM (SELECT DISTINCT queue FROM recovered WHERE status <> 'failed') q
    UNION ALL
    SELECT pg_notify('durable:done', id::text) FROM recovered WHERE status = 'failed' AND watched
)
SELECT r.id::text, r.status, CASE WHEN r.status = 'failed' THEN r.parent_id::text END AS parent_id,
       (SELECT count(*) FROM told) AS told
FROM recovered r;

-- name: recover_zombie_workflows
-- move: fail, compensate
-- A row that waits for nothing can never wake: neither a due time nor an open wait.
WITH zombies AS MATERIALIZED (
    SELECT e.id
    FROM durable.workflow_executions e
    WHERE e.status = 'waiting' AND e.scheduled_at IS NULL
      AND e.updated_at < durable.now() - make_interval(secs => %(timeout)s)
      AND NOT EXISTS (SELECT FROM durable.waits w WHERE w.execution_id = e.id AND w.status = 'open')
    ORDER BY e.updated_at
    LIMIT %(batch_size)s
    FOR UPDATE OF e SKIP LOCKED
), decided AS MATERIALIZED (
    SELECT zombies.id, durable.failed_status(zombies.id) AS failed_status FROM zombies
), ended AS (
    UPDATE durable.workflow_executions e
    SET status = decided.failed_status, updated_at = durable.now(),
        completed_at = CASE decided.failed_status WHEN 'failed' THEN durable.now() END,
        scheduled_at = CASE decided.failed_status WHEN 'compensating' THEN durable.now() END,
        queue = CASE decided.failed_status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                           ELSE e.queue END,
        error = jsonb_build_object('type', 'zombie_detected', 'message',
            'The execution was waiting with nothing that could wake it.')
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id
), told AS (
    SELECT pg_notify('durable:queue', queue)
    FROM (SELECT DISTINCT queue FROM ended WHERE status = 'compensating') q
    UNION ALL
    SELECT pg_notify('durable:done', id::text) FROM ended WHERE status = 'failed' AND watched
)
SELECT r.id::text, r.status, CASE WHEN r.status = 'failed' THEN r.parent_id::text END AS parent_id,
       (SELECT count(*) FROM told) AS told
FROM ended r;

-- name: wake_sleeping_workflows
-- move: wake
WITH due AS MATERIALIZED (
    SELECT e.id
    FROM durable.workflow_executions e
    WHERE e.status = 'waiting' AND e.scheduled_at <= durable.now()
    ORDER BY e.scheduled_at
    LIMIT %(batch_size)s
    FOR UPDATE SKIP LOCKED
), woken AS (
    UPDATE durable.workflow_executions e
    SET status = 'pending', updated_at = durable.now()
    FROM due
    WHERE e.id = due.id
    RETURNING e.id, e.queue
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM woken) q
)
SELECT w.id::text, (SELECT count(*) FROM told) AS told FROM woken w;

-- name: next_wake
-- How long the waker may sleep: seconds to the earliest due time, null when nobody sleeps.
SELECT extract(epoch FROM min(scheduled_at) - durable.now())::double precision AS seconds
FROM durable.workflow_executions
WHERE status = 'waiting' AND scheduled_at IS NOT NULL;

-- name: next_due
-- How long a manager with free slots may sleep: seconds to the earliest due time of its queue, and
-- whether a claim has just passed over something that is due, because its row was locked: nobody
-- notifies the queue when such a lock is gone. One look per priority at either side of now.
WITH RECURSIVE priorities AS (
    (SELECT e.priority
     FROM durable.workflow_executions e
     WHERE e.queue = %(queue)s AND e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
     ORDER BY e.priority DESC LIMIT 1)
    UNION ALL
    SELECT (SELECT e.priority
            FROM durable.workflow_executions e
            WHERE e.queue = %(queue)s AND e.status IN ('pending', 'compensating')
              AND e.lock_token IS NULL AND e.priority < p.priority
            ORDER BY e.priority DESC LIMIT 1)
    FROM priorities p
    WHERE p.priority IS NOT NULL
)
SELECT extract(epoch FROM min(earliest.scheduled_at) - durable.now())::double precision AS seconds,
       coalesce(bool_or(EXISTS (
           SELECT
           FROM durable.workflow_executions e
           WHERE e.queue = %(queue)s AND e.priority = p.priority
             AND e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
             AND e.scheduled_at <= durable.now()
             AND (%(workflows)s::text[] IS NULL
                  OR (e.workflow::text, e.version) IN (
                      SELECT * FROM unnest(%(workflows)s::text[], %(versions)s::text[]))))),
           false) AS passed_over
FROM priorities p
LEFT JOIN LATERAL (
    SELECT e.scheduled_at
    FROM durable.workflow_executions e
    WHERE e.queue = %(queue)s AND e.priority = p.priority
      AND e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
      AND e.scheduled_at > durable.now()
    ORDER BY e.scheduled_at
    LIMIT 1
) AS earliest ON true;

-- name: queue_stats
-- In two, as the indexes are: what has ended is counted in an index alone, by several processes where
-- it is much. An exact count reads what it counts.
WITH counted AS (
    SELECT queue, status, count(*) AS number, 0 AS later
    FROM durable.workflow_executions
    WHERE completed_at IS NOT NULL AND (%(queue)s::text IS NULL OR queue = %(queue)s)
    GROUP BY queue, status
    UNION ALL
    SELECT queue, status, count(*),
           count(*) FILTER (WHERE status = 'pending' AND scheduled_at > durable.now())
    FROM durable.workflow_executions
    WHERE completed_at IS NULL AND (%(queue)s::text IS NULL OR queue = %(queue)s)
    GROUP BY queue, status
), named AS (
    SELECT queue, jsonb_object_agg(status, number) AS numbers, sum(later) AS later
    FROM counted GROUP BY queue
)
SELECT queue,
       coalesce((numbers -> 'pending')::bigint, 0) AS pending,
       later::bigint AS scheduled,
       coalesce((numbers -> 'running')::bigint, 0) AS running,
       coalesce((numbers -> 'waiting')::bigint, 0) AS waiting,
       coalesce((numbers -> 'completed')::bigint, 0) AS completed,
       coalesce((numbers -> 'failed')::bigint, 0) AS failed,
       coalesce((numbers -> 'cancelled')::bigint, 0) AS cancelled,
       coalesce((numbers -> 'compensating')::bigint, 0) AS compensating,
       coalesce((numbers -> 'compensated')::bigint, 0) AS compensated,
       coalesce((numbers -> 'compensation_failed')::bigint, 0) AS compensation_failed
FROM named
ORDER BY queue;

-- What executions wait for, and what answers it. Whoever changes a wait, an event or an input holds
-- the execution's row locked first: the events of an execution come one after another, and a wait
-- ends in one way.

-- name: take_event
-- payload: payload
-- The execution's row is locked, and the event put into its mailbox if it takes events; the answer is
-- what status it has. The id is made before the first try, so that a repetition after a lost answer
-- finds its own row.
WITH held AS MATERIALIZED (
    SELECT id, status FROM durable.workflow_executions WHERE id = %(id)s::uuid FOR UPDATE
), taken AS (
    INSERT INTO durable.events (id, execution_id, name, payload, sent_at)
    SELECT %(event_id)s::uuid, held.id, %(name)s, %(payload)s::jsonb, durable.now()
    FROM held
    WHERE held.status IN ('pending', 'running', 'waiting')
    ON CONFLICT DO NOTHING
)
SELECT status FROM held;

-- name: event_is_recorded
SELECT EXISTS (SELECT FROM durable.events WHERE id = %(event_id)s::uuid) AS recorded;

-- name: waits_and_mail
-- The open waits for events in the order of the calls, and then what lies in the mailbox for them as
-- it came: the first unconsumed events of each name, as many as there are waits that may take one.
-- Payloads as they are stored: they become answers without being read.
WITH asked AS MATERIALIZED (
    SELECT id, kind, names, row_number() OVER (ORDER BY path, visit, ordinal) AS place
    FROM durable.waits
    WHERE execution_id = %(id)s::uuid AND status = 'open' AND kind IN ('event', 'any', 'all')
), mail AS (
    SELECT found.id, wanted.name, found.payload, found.number AS place
    FROM (SELECT DISTINCT unnest(names) AS name FROM asked) AS wanted
    CROSS JOIN LATERAL (
        SELECT e.id, e.payload::text, e.number
        FROM durable.events e
        WHERE e.execution_id = %(id)s::uuid AND e.name = wanted.name AND e.consumed_at IS NULL
        ORDER BY e.number
        LIMIT (SELECT count(*) FROM asked)
    ) AS found
)
SELECT false AS is_mail, id::text, kind, names, NULL AS name, NULL AS payload, place FROM asked
UNION ALL
SELECT true, id::text, NULL, NULL, name, payload, place FROM mail
ORDER BY is_mail, place;

-- name: deliver
-- move: wake
-- Waits are over, events are consumed by them, and the execution wakes if it waits: one that runs or
-- is pending looks for itself when it suspends.
WITH answered AS (
    UPDATE durable.waits w
    SET status = 'answered', answer = given.answer::jsonb, answered_at = durable.now()
    FROM unnest(%(wait_ids)s::uuid[], %(answers)s::text[]) AS given (wait_id, answer)
    WHERE w.id = given.wait_id AND w.status = 'open'
), consumed AS (
    UPDATE durable.events e
    SET consumed_at = durable.now(), consumed_by = taken.wait_id
    FROM unnest(%(event_ids)s::uuid[], %(consumers)s::uuid[]) AS taken (event_id, wait_id)
    WHERE e.id = taken.event_id AND e.consumed_at IS NULL
), woken AS (
    UPDATE durable.workflow_executions
    SET status = 'pending', scheduled_at = durable.now(), updated_at = durable.now()
    WHERE id = %(id)s::uuid AND status = 'waiting'
    RETURNING queue
)
SELECT pg_notify('durable:queue', queue) FROM woken;

-- name: has_answers
-- Whether a wait that was asked for has been answered before its execution was seen to wait.
SELECT EXISTS (
    SELECT FROM durable.waits
    WHERE execution_id = %(id)s::uuid AND path = %(path)s AND visit = %(visit)s
      AND ordinal = ANY(%(ordinals)s::integer[]) AND status = 'answered') AS found;

-- name: wake_execution
-- move: wake
-- What it waited for is there. One that runs or is pending looks for itself when it suspends.
WITH woken AS (
    UPDATE durable.workflow_executions
    SET status = 'pending', scheduled_at = durable.now(), updated_at = durable.now()
    WHERE id = %(id)s::uuid AND status = 'waiting'
    RETURNING queue
)
SELECT pg_notify('durable:queue', queue) FROM woken;

-- name: remind_queue
-- A claim skips rows that are locked. Whoever had a pending one locked for another reason says so
-- when it lets go, or the row would be claimed at the next poll only.
SELECT pg_notify('durable:queue', queue)
FROM durable.workflow_executions
WHERE id = %(id)s::uuid AND status = 'pending' AND scheduled_at <= durable.now();

-- name: inputs_of
-- The open inputs of an execution in the order of the calls, and the one this caller has answered. A
-- prompt that is stored in a codec's form is that form's text.
SELECT i.id::text, i.wait_id::text, i.name, i.type, i.fields,
       CASE WHEN i.prompt LIKE '{"$codec": %%' THEN i.prompt::jsonb ELSE to_jsonb(i.prompt) END AS prompt,
       i.choices, i.metadata,
       i.status = 'answered' AS is_answered
FROM durable.pending_inputs i
JOIN durable.waits w ON w.id = i.wait_id
WHERE i.execution_id = %(id)s::uuid
  AND (i.status = 'open' OR i.answer_id = %(answer_id)s::uuid)
ORDER BY w.path, w.visit, w.ordinal;

-- name: answer_input
-- payload: answer
-- The answer as it is stored is what the wait gets as well: as it was given, for who may answer may
-- not read what is in the table.
UPDATE durable.pending_inputs
SET status = 'answered', response = %(answer)s::jsonb, answer_id = %(answer_id)s::uuid,
    completed_at = durable.now()
WHERE id = %(input_id)s::uuid AND status = 'open'
RETURNING %(answer)s::jsonb::text AS answer;

-- name: list_pending_inputs
SELECT i.id::text, i.execution_id::text, e.workflow, w.path AS step, i.name, i.type,
       CASE WHEN i.prompt LIKE '{"$codec": %%' THEN i.prompt::jsonb ELSE to_jsonb(i.prompt) END AS prompt,
       i.fields, i.choices, i.metadata, w.due_at AS timeout_at, i.created_at
FROM durable.pending_inputs i
JOIN durable.waits w ON w.id = i.wait_id
JOIN durable.workflow_executions e ON e.id = i.execution_id
WHERE i.status = 'open' AND e.completed_at IS NULL
  AND (%(id)s::uuid IS NULL OR i.execution_id = %(id)s::uuid)
ORDER BY w.due_at NULLS LAST, i.created_at, i.id
LIMIT %(limit)s;

-- name: list_pending_events
SELECT w.id::text, w.execution_id::text, e.workflow, w.path AS step, w.names,
       CASE w.kind WHEN 'event' THEN 'single' ELSE w.kind END AS kind,
       w.due_at AS timeout_at, w.created_at
FROM durable.waits w
JOIN durable.workflow_executions e ON e.id = w.execution_id
WHERE w.status = 'open' AND w.kind <> 'sleep' AND w.kind IN ('event', 'any', 'all')
  AND e.completed_at IS NULL
  AND (%(id)s::uuid IS NULL OR w.execution_id = %(id)s::uuid)
ORDER BY w.due_at NULLS LAST, w.created_at, w.id
LIMIT %(limit)s;

-- name: list_events
SELECT id::text, execution_id::text, name, payload, sent_at, consumed_at
FROM durable.events
WHERE execution_id = %(id)s::uuid
ORDER BY number;

-- name: end_overdue_waits
-- move: wake, fail, compensate
-- Waits whose time is over, of executions that wait: one that runs or is pending comes back here
-- when it waits again. A row that somebody has locked is being answered, cancelled or woken.
WITH due AS MATERIALIZED (
    SELECT e.id
    FROM durable.waits w
    JOIN durable.workflow_executions e ON e.id = w.execution_id
    WHERE w.status = 'open' AND w.kind NOT IN ('sleep', 'child') AND w.due_at <= durable.now()
      AND e.status = 'waiting'
    ORDER BY w.due_at
    LIMIT %(batch_size)s
    FOR UPDATE OF e SKIP LOCKED
), timed_out AS (
    UPDATE durable.waits w
    SET status = 'timed_out', answered_at = durable.now()
    WHERE w.execution_id IN (SELECT due.id FROM due)
      AND w.status = 'open' AND w.kind NOT IN ('sleep', 'child') AND w.due_at <= durable.now()
    RETURNING w.id, w.execution_id, w.names, w.on_timeout, w.ordinal
), questions AS (
    UPDATE durable.pending_inputs i
    SET status = 'timed_out', completed_at = durable.now()
    FROM timed_out
    WHERE i.wait_id = timed_out.id AND i.status = 'open'
), ended AS (
    SELECT t.execution_id AS id,
           (array_agg(t.names[1] ORDER BY t.ordinal) FILTER (WHERE t.on_timeout = 'fail'))[1]
               AS unanswered
    FROM timed_out t
    GROUP BY t.execution_id
), decided AS (
    SELECT ended.*, CASE WHEN ended.unanswered IS NULL THEN 'pending'
                         ELSE durable.failed_status(ended.id) END AS status
    FROM ended
), moved AS (
    UPDATE durable.workflow_executions e
    SET status = CASE decided.status WHEN 'pending' THEN 'pending' WHEN 'failed' THEN 'failed'
                                     ELSE 'compensating' END,
        error = CASE WHEN decided.unanswered IS NULL THEN e.error
                     ELSE jsonb_build_object('type', 'wait_timeout', 'message', format(
                         'Nobody has given the input %%s in time.',
                         to_jsonb(decided.unanswered))) END,
        completed_at = CASE WHEN decided.status = 'failed' THEN durable.now() END,
        scheduled_at = CASE WHEN decided.status = 'failed' THEN e.scheduled_at
                            ELSE durable.now() END,
        queue = CASE decided.status WHEN 'compensating' THEN coalesce(e.home_queue, e.queue)
                                    ELSE e.queue END,
        updated_at = durable.now()
    FROM decided
    WHERE e.id = decided.id
    RETURNING e.id, e.status, e.queue, e.watched, e.parent_id, e.error
), attempted AS (  -- the attempt that has asked ends with its execution, and is a row as all are
    INSERT INTO durable.step_executions
        (id, execution_id, position, path, name, visit, attempt, status, error, started_at,
         completed_at)
    SELECT gen_random_uuid(), m.id, done.position + 1, asked.path,
           regexp_replace(asked.path, '^.*/', ''), asked.visit, done.attempts + 1, 'failed',
           m.error, asked.started_at, durable.now()
    FROM moved m
    CROSS JOIN LATERAL (
        SELECT w.path, w.visit, min(w.created_at) AS started_at
        FROM timed_out t
        JOIN durable.waits w ON w.id = t.id
        WHERE t.execution_id = m.id AND t.on_timeout = 'fail'
        GROUP BY w.path, w.visit
    ) asked
    CROSS JOIN LATERAL (
        SELECT coalesce(max(s.position) FILTER (WHERE s.status = 'completed'), 0) AS position,
               count(*) FILTER (WHERE s.path = asked.path AND s.visit = asked.visit) AS attempts
        FROM durable.step_executions s
        WHERE s.execution_id = m.id
    ) done
    WHERE m.status <> 'pending'
), told AS (
    SELECT pg_notify('durable:queue', queue)
    FROM (SELECT DISTINCT queue FROM moved WHERE status <> 'failed') q
    UNION ALL
    SELECT pg_notify('durable:done', id::text) FROM moved WHERE status = 'failed' AND watched
)
SELECT m.id::text, m.status, CASE WHEN m.status = 'failed' THEN m.parent_id::text END AS parent_id,
       (SELECT count(*) FROM told) AS told FROM moved m;

-- name: next_timeout
-- Seconds to the earliest end of a wait's time, below zero if overdue; null if none has one.
SELECT extract(epoch FROM (
    SELECT w.due_at
    FROM durable.waits w
    JOIN durable.workflow_executions e ON e.id = w.execution_id
    WHERE w.status = 'open' AND w.kind <> 'sleep' AND w.due_at IS NOT NULL AND e.status = 'waiting'
    ORDER BY w.due_at
    LIMIT 1
) - durable.now())::double precision AS seconds;

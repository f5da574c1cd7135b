-- Schedules and their slots. A slot's row is its run: whoever inserts the key starts the run, in
-- the same transaction, so that any number of schedulers make one run of it.

-- name: insert_schedule
-- payload: input
INSERT INTO durable.scheduled_workflows
    (name, workflow, cron, timezone, input, queue, enabled, catch_up, overlap, jitter, next_run_at,
     inserted_at, updated_at)
VALUES (%(name)s, %(workflow)s, %(cron)s, %(timezone)s, %(input)s::jsonb, %(queue)s, %(enabled)s,
        %(catch_up)s, %(overlap)s, %(jitter)s, %(next_run_at)s, durable.now(), durable.now())
ON CONFLICT (name) DO NOTHING
RETURNING name, pg_notify('durable:schedule', name);

-- name: declare_schedules
-- payload: inputs
-- What operators and the scheduler wrote is kept; the next slot too, unless it is another's.
WITH given AS (
    SELECT * FROM unnest(
        %(names)s::text[], %(workflows)s::text[], %(crons)s::text[], %(timezones)s::text[],
        %(inputs)s::text[], %(queues)s::text[], %(enabled)s::boolean[], %(catch_ups)s::text[],
        %(overlaps)s::text[], %(jitters)s::double precision[], %(next_runs)s::timestamptz[]
    ) AS given (name, workflow, cron, timezone, input, queue, enabled, catch_up, overlap, jitter,
                next_run_at)
), declared AS (
    INSERT INTO durable.scheduled_workflows AS known
        (name, workflow, cron, timezone, input, queue, enabled, catch_up, overlap, jitter,
         next_run_at, inserted_at, updated_at)
    SELECT name, workflow, cron, timezone, input::jsonb, queue, enabled, catch_up, overlap, jitter,
           next_run_at, durable.now(), durable.now()
    FROM given
    ORDER BY name
    ON CONFLICT (name) DO UPDATE
    SET workflow = excluded.workflow, cron = excluded.cron, timezone = excluded.timezone,
        input = excluded.input, queue = excluded.queue, catch_up = excluded.catch_up,
        overlap = excluded.overlap, jitter = excluded.jitter, updated_at = excluded.updated_at,
        next_run_at = CASE
            WHEN (known.cron, known.timezone) = (excluded.cron, excluded.timezone)
            THEN known.next_run_at ELSE excluded.next_run_at
        END
    WHERE (known.workflow, known.cron, known.timezone, known.input, known.queue, known.catch_up,
           known.overlap, known.jitter)
        IS DISTINCT FROM (excluded.workflow, excluded.cron, excluded.timezone, excluded.input,
                          excluded.queue, excluded.catch_up, excluded.overlap, excluded.jitter)
    RETURNING name
)
SELECT name, pg_notify('durable:schedule', name) FROM declared;

-- name: schedules
SELECT name, workflow, cron, timezone, input, queue, enabled, next_run_at, last_run_at, last_error,
       consecutive_failures, auto_disabled_at, catch_up, overlap, jitter
FROM durable.scheduled_workflows
WHERE name = coalesce(%(name)s, name)
ORDER BY name;

-- name: lock_schedule
-- Not FOR UPDATE: slots that point to it may be inserted meanwhile.
SELECT name, workflow, cron, timezone, input, queue, enabled, next_run_at, last_run_at, last_error,
       consecutive_failures, auto_disabled_at, catch_up, overlap, jitter, durable.now() AS now
FROM durable.scheduled_workflows
WHERE name = %(name)s
FOR NO KEY UPDATE;

-- name: lock_free_schedule
-- No row when somebody else is at it: whoever looks after all schedules waits for none of them.
SELECT name, workflow, cron, timezone, input, queue, enabled, next_run_at, last_run_at, last_error,
       consecutive_failures, auto_disabled_at, catch_up, overlap, jitter, durable.now() AS now
FROM durable.scheduled_workflows
WHERE name = %(name)s
FOR NO KEY UPDATE SKIP LOCKED;

-- name: lock_due_schedule
-- No row when another scheduler is at it, or has been. The lock saves work; the slots' key is what
-- makes a run the only one.
SELECT name, workflow, cron, timezone, input, queue, enabled, next_run_at, last_run_at, last_error,
       consecutive_failures, auto_disabled_at, catch_up, overlap, jitter, durable.now() AS now
FROM durable.scheduled_workflows
WHERE name = %(name)s AND enabled AND next_run_at <= durable.now()
FOR NO KEY UPDATE SKIP LOCKED;

-- name: write_schedule
-- payload: input
-- The row is locked by the same transaction. An input that is the same is not written: whoever cannot
-- read it may not be able to write it either.
UPDATE durable.scheduled_workflows
SET workflow = %(workflow)s, cron = %(cron)s, timezone = %(timezone)s,
    input = CASE WHEN %(has_new_input)s THEN %(input)s::jsonb ELSE input END, queue = %(queue)s, enabled = %(enabled)s, next_run_at = %(next_run_at)s,
    last_run_at = %(last_run_at)s, last_error = %(last_error)s,
    consecutive_failures = %(consecutive_failures)s, auto_disabled_at = %(auto_disabled_at)s,
    catch_up = %(catch_up)s, overlap = %(overlap)s, jitter = %(jitter)s, updated_at = durable.now()
WHERE name = %(name)s;

-- name: tell_schedulers
SELECT pg_notify('durable:schedule', %(name)s);

-- name: delete_schedule
DELETE FROM durable.scheduled_workflows WHERE name = %(name)s RETURNING name;

-- name: due_schedules
SELECT name FROM durable.scheduled_workflows
WHERE enabled AND next_run_at <= durable.now()
ORDER BY next_run_at, name
LIMIT %(limit)s;

-- name: next_slot
-- How long the scheduler may sleep: seconds to the earliest slot, null when none will come.
SELECT extract(epoch FROM min(next_run_at) - durable.now())::double precision AS seconds
FROM durable.scheduled_workflows
WHERE enabled AND next_run_at IS NOT NULL;

-- name: take_slot
-- No row when the slot is taken.
INSERT INTO durable.schedule_slots (schedule, slot, execution_id, outcome)
VALUES (%(schedule)s, %(slot)s, %(execution_id)s::uuid, %(outcome)s)
ON CONFLICT DO NOTHING
RETURNING slot;

-- name: record_trigger
-- Between two seconds, where no slot can be.
INSERT INTO durable.schedule_slots (schedule, slot, execution_id)
SELECT %(schedule)s,
       CASE WHEN at = date_trunc('second', at) THEN at + interval '1 microsecond' ELSE at END,
       %(execution_id)s::uuid
FROM (SELECT durable.now() AS at) AS clock
WHERE NOT EXISTS (SELECT FROM durable.schedule_slots
                  WHERE schedule = %(schedule)s AND execution_id = %(execution_id)s::uuid)
ON CONFLICT DO NOTHING;

-- name: open_runs
-- The runs of a schedule that have not ended, the oldest first.
SELECT e.id::text
FROM durable.schedule_slots s JOIN durable.workflow_executions e ON e.id = s.execution_id
WHERE s.schedule = %(schedule)s AND s.outcome IS NULL AND e.completed_at IS NULL
ORDER BY s.slot;

-- name: schedules_to_judge
SELECT DISTINCT s.schedule
FROM durable.schedule_slots s LEFT JOIN durable.workflow_executions e ON e.id = s.execution_id
WHERE s.outcome IS NULL AND (e.id IS NULL OR e.completed_at IS NOT NULL)
ORDER BY s.schedule;

-- name: ended_runs
-- In the order in which they ended; what has been deleted since has no status.
SELECT s.slot, e.status, e.error
FROM durable.schedule_slots s LEFT JOIN durable.workflow_executions e ON e.id = s.execution_id
WHERE s.schedule = %(schedule)s AND s.outcome IS NULL
  AND (e.id IS NULL OR e.completed_at IS NOT NULL)
ORDER BY e.completed_at, s.slot
LIMIT %(limit)s;

-- name: judge_slots
UPDATE durable.schedule_slots s
SET outcome = judged.outcome
FROM unnest(%(slots)s::timestamptz[], %(outcomes)s::text[]) AS judged (slot, outcome)
WHERE s.schedule = %(schedule)s AND s.slot = judged.slot;

-- name: forget_slots
-- `next_run_at` has moved on long ago, so nobody asks for them any more.
DELETE FROM durable.schedule_slots
WHERE schedule = %(schedule)s AND outcome IS NOT NULL
  AND slot < durable.now() - make_interval(days => %(days)s::integer);

-- What the dashboard's pages ask. Nothing here locks or writes.

-- name: dashboard_patience
-- A page that takes longer says so instead of keeping the server busy. What follows is planned for the
-- filters that are given: a plan for any of them would use none of their indexes. And not compiled,
-- which takes longer than a page.
SELECT set_config('statement_timeout', %(milliseconds)s::text, true),
       set_config('plan_cache_mode', 'force_custom_plan', true), set_config('jit', 'off', true);

-- name: dashboard_executions
-- A page in the order of (inserted_at, id), newest first; see `list_newest` for why in two parts. What
-- lives is looked for only as far back as what has ended fills the page: however many live, those of
-- another name are not read. If it does not, then what lives is found with `living` only. Nothing is
-- from before the horizons. What a context had is looked for a key at a time: in the input, in what steps
-- have set, and in the snapshots.
WITH ended AS MATERIALIZED (
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NOT NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(step)s::text IS NULL OR e.current_step = %(step)s)
          AND (%(error)s::text IS NULL OR e.error ->> 'type' = %(error)s)
          AND (%(contains)s::jsonb IS NULL OR e.input @> %(contains)s::jsonb)
          AND (%(text)s::text IS NULL OR position(lower(%(text)s) IN lower(e.input::text)) > 0)
          AND (%(context)s::jsonb IS NULL OR NOT EXISTS (
                   SELECT FROM jsonb_each(%(context)s::jsonb) AS asked (key, value)
                   WHERE coalesce(e.input @> jsonb_build_object(asked.key, asked.value), false)
                             IS FALSE
                     AND NOT EXISTS (
                         SELECT FROM durable.step_executions s
                         WHERE s.execution_id = e.id
                           AND (s.changes @> jsonb_build_array(
                                    jsonb_build_array('set', asked.key, asked.value))
                                OR s.snapshot @> jsonb_build_object(asked.key, asked.value)))))
          AND (%(context_text)s::text IS NULL
               OR position(lower(%(context_text)s) IN lower(e.input::text)) > 0 OR EXISTS (
                   SELECT FROM durable.step_executions s
                   WHERE s.execution_id = e.id AND (
                       position(lower(%(context_text)s) IN lower(s.changes::text)) > 0
                       OR position(lower(%(context_text)s) IN lower(s.snapshot::text)) > 0)))
          AND NOT %(retrying)s AND %(stuck_for)s::double precision IS NULL
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
          AND (%(horizon)s::uuid IS NULL
               OR (e.inserted_at, e.id) >= (%(horizon_inserted_at)s::timestamptz, %(horizon)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(limit)s
    ) AS found
), filled AS (
    SELECT e.inserted_at FROM ended e
    ORDER BY e.inserted_at DESC, e.id DESC OFFSET %(limit)s - 1 LIMIT 1
), found AS (
    SELECT id, inserted_at FROM ended
    UNION ALL
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NULL
          AND e.inserted_at >= coalesce((SELECT inserted_at FROM filled),
                                        CASE WHEN %(living)s THEN '-infinity'::timestamptz
                                             ELSE 'infinity'::timestamptz END)
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
          AND (%(step)s::text IS NULL OR %(step)s = CASE WHEN e.lock_token IS NULL
                   THEN e.current_step ELSE coalesce(e.begun ->> 'path', e.current_step) END)
          AND (%(error)s::text IS NULL OR e.error ->> 'type' = %(error)s)
          AND (%(contains)s::jsonb IS NULL OR e.input @> %(contains)s::jsonb)
          AND (%(text)s::text IS NULL OR position(lower(%(text)s) IN lower(e.input::text)) > 0)
          AND (%(context)s::jsonb IS NULL OR NOT EXISTS (
                   SELECT FROM jsonb_each(%(context)s::jsonb) AS asked (key, value)
                   WHERE coalesce(e.input @> jsonb_build_object(asked.key, asked.value), false)
                             IS FALSE
                     AND NOT EXISTS (
                         SELECT FROM durable.step_executions s
                         WHERE s.execution_id = e.id
                           AND (s.changes @> jsonb_build_array(
                                    jsonb_build_array('set', asked.key, asked.value))
                                OR s.snapshot @> jsonb_build_object(asked.key, asked.value)))))
          AND (%(context_text)s::text IS NULL
               OR position(lower(%(context_text)s) IN lower(e.input::text)) > 0 OR EXISTS (
                   SELECT FROM durable.step_executions s
                   WHERE s.execution_id = e.id AND (
                       position(lower(%(context_text)s) IN lower(s.changes::text)) > 0
                       OR position(lower(%(context_text)s) IN lower(s.snapshot::text)) > 0)))
          AND (NOT %(retrying)s OR e.crashes > 0 OR (e.begun ->> 'attempt')::integer > 1 OR EXISTS (
                   SELECT FROM durable.step_executions s
                   WHERE s.execution_id = e.id AND s.status = 'failed'))
          AND (%(stuck_for)s::double precision IS NULL
               OR e.updated_at < durable.now() - make_interval(secs => %(stuck_for)s))
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
          AND (%(living_horizon)s::uuid IS NULL OR (e.inserted_at, e.id)
               >= (%(living_horizon_inserted_at)s::timestamptz, %(living_horizon)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(limit)s
    ) AS found
), page AS (
    SELECT e.id FROM found e ORDER BY e.inserted_at DESC, e.id DESC LIMIT %(limit)s
)
SELECT e.id::text, e.workflow, e.version, e.status, e.queue, e.priority,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step,
       e.parent_id::text, e.scheduled_at, e.started_at, e.completed_at, e.inserted_at, e.updated_at,
       e.crashes, e.interruptions, e.error ->> 'type' AS error_type, durable.now() AS now
FROM durable.workflow_executions e
WHERE e.id = ANY (ARRAY(SELECT page.id FROM page))
ORDER BY e.inserted_at DESC, e.id DESC;

-- name: dashboard_encoded
-- The codecs of the newest inputs, as far as they are encoded: nobody can search those.
SELECT DISTINCT newest.input ->> '$codec' AS name
FROM (SELECT e.input FROM durable.workflow_executions e ORDER BY e.id DESC LIMIT %(most)s) AS newest
WHERE jsonb_typeof(newest.input) = 'object' AND newest.input ? '$codec' AND newest.input ? 'encoded'
  AND newest.input ->> '$codec' <> 'plain'
ORDER BY 1;

-- name: dashboard_horizon
-- The last of the newest `most` that a search would look at, by what there is an index for; nothing when
-- there are not so many. Read in the indexes alone.
WITH newest AS (
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE NOT %(living)s AND e.status = wanted.status AND e.completed_at IS NOT NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR %(workflow)s::text IS NOT NULL OR e.queue = %(queue)s)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS found
    UNION ALL
    SELECT found.id, found.inserted_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.id, e.inserted_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.completed_at IS NULL
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(after)s::uuid IS NULL
               OR (e.inserted_at, e.id) < (%(after_inserted_at)s::timestamptz, %(after)s::uuid))
        ORDER BY e.inserted_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS found
)
SELECT newest.id::text, newest.inserted_at AS at,
       greatest(0, (SELECT c.reltuples FROM pg_class c
                    WHERE c.oid = 'durable.workflow_executions'::regclass))::bigint AS about
FROM newest
ORDER BY newest.inserted_at DESC, newest.id DESC
OFFSET %(most)s - 1 LIMIT 1;

-- name: dashboard_count
-- How many there are, counted no further than `most`: a page says "10,000+" and stays quick. In two
-- parts, as the indexes are. What lives has no index by name: of those no more than `window` are looked
-- at, and `is_all` says whether that was all of them.
WITH living AS MATERIALIZED (
    SELECT e.workflow, e.queue, e.parent_id
    FROM durable.workflow_executions e
    WHERE e.status = ANY(%(statuses)s::text[]) AND e.completed_at IS NULL
      AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
      AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
      AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
      AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
    LIMIT %(window)s
), counted AS (
    SELECT count(*)::integer AS count
    FROM (
        SELECT FROM durable.workflow_executions e
        WHERE e.status = ANY(%(statuses)s::text[]) AND e.completed_at IS NOT NULL
          AND (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (%(parent)s::uuid IS NULL OR e.parent_id = %(parent)s::uuid)
          AND (%(since)s::timestamptz IS NULL OR e.inserted_at >= %(since)s)
          AND (%(until)s::timestamptz IS NULL OR e.inserted_at < %(until)s)
          AND (%(first_id)s::uuid IS NULL OR e.id BETWEEN %(first_id)s::uuid AND %(last_id)s::uuid)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
        UNION ALL
        SELECT FROM living e
        WHERE (%(workflow)s::text IS NULL OR e.workflow = %(workflow)s)
          AND (%(queue)s::text IS NULL OR e.queue = %(queue)s)
          AND (NOT %(top_level)s OR e.parent_id IS NULL)
        LIMIT %(most)s
    ) AS these
)
SELECT counted.count, counted.count >= %(most)s
       OR (SELECT count(*) FROM living) < %(window)s AS is_all
FROM counted;

-- name: dashboard_counts
-- Executions by status, and of the pending ones those that are not due yet.
SELECT status, count(*)::bigint AS count,
       count(*) FILTER (WHERE status = 'pending' AND scheduled_at > durable.now())::bigint
           AS scheduled
FROM durable.workflow_executions
GROUP BY status;

-- name: dashboard_throughput
-- Families that ended, by the time at which: so many buckets, the last one ending now.
SELECT width_bucket(extract(epoch FROM e.completed_at - (durable.now()
           - make_interval(secs => %(seconds)s)))::double precision,
           0, %(seconds)s::double precision, %(buckets)s::integer) AS bucket,
       e.status, count(*)::integer AS count
FROM unnest(%(statuses)s::text[]) AS wanted (status)
JOIN durable.workflow_executions e
  ON e.status = wanted.status AND e.parent_id IS NULL AND e.completed_at IS NOT NULL
 AND e.completed_at > durable.now() - make_interval(secs => %(seconds)s)
GROUP BY 1, 2;

-- name: dashboard_durations
-- How long the families took that ended last, and how long they had waited for a worker before.
WITH latest AS (
    SELECT extract(epoch FROM e.completed_at - e.started_at)::double precision AS took,
           greatest(0, extract(epoch FROM e.started_at - e.inserted_at))::double precision AS waited
    FROM durable.workflow_executions e
    WHERE e.status = 'completed' AND e.parent_id IS NULL AND e.completed_at IS NOT NULL
      AND e.completed_at > durable.now() - make_interval(secs => %(seconds)s)
    ORDER BY e.completed_at DESC
    LIMIT 1000
)
SELECT count(*)::integer AS count,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY took) AS took,
       percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY waited) AS waited
FROM latest;

-- name: dashboard_workflows
-- Every published name with its newest version and all versions, those that never ran too.
SELECT d.workflow, max(d.published_at) AS published_at,
       array_agg(d.version ORDER BY d.published_at DESC) AS versions,
       (array_agg(d.description ->> 'queue' ORDER BY d.published_at DESC))[1] AS queue,
       (array_agg(jsonb_array_length(d.description -> 'nodes') ORDER BY d.published_at DESC))[1]
           AS nodes
FROM durable.definitions d
GROUP BY d.workflow
ORDER BY d.workflow;

-- name: dashboard_workflow_counts
-- By workflow: what lives exactly, and of what has ended the last one only.
SELECT e.workflow, e.status, count(*)::integer AS count
FROM durable.workflow_executions e
WHERE e.completed_at IS NULL
GROUP BY e.workflow, e.status;

-- name: dashboard_last_of_workflows
-- The newest execution that has ended, of each of these workflows and in each status.
SELECT DISTINCT ON (wanted.workflow) wanted.workflow, last.id::text, last.status, last.completed_at
FROM unnest(%(workflows)s::text[]) AS wanted (workflow)
CROSS JOIN unnest(%(statuses)s::text[]) AS kind (status)
CROSS JOIN LATERAL (
    SELECT e.id, e.status, e.completed_at, e.inserted_at
    FROM durable.workflow_executions e
    WHERE e.workflow = wanted.workflow AND e.status = kind.status AND e.completed_at IS NOT NULL
    ORDER BY e.inserted_at DESC, e.id DESC
    LIMIT 1
) AS last
ORDER BY wanted.workflow, last.inserted_at DESC;

-- name: dashboard_definition
SELECT description FROM durable.definitions
WHERE workflow = %(workflow)s AND version = %(version)s;

-- name: dashboard_waits
-- What an execution has waited for and waits for, in the order of the calls.
SELECT w.path, w.visit, w.ordinal, w.kind, w.names, w.due_at, w.status, w.created_at,
       w.answered_at, w.child_id::text, i.name AS input, i.type AS input_type
FROM durable.waits w
LEFT JOIN durable.pending_inputs i ON i.wait_id = w.id
WHERE w.execution_id = %(id)s::uuid
ORDER BY w.created_at, w.path, w.visit, w.ordinal
LIMIT 1000;

-- name: dashboard_family
-- An execution's root and everything below it, level by level, no more than `most`.
WITH RECURSIVE up AS (
    SELECT e.id, e.parent_id, 0 AS height
    FROM durable.workflow_executions e WHERE e.id = %(id)s::uuid
    UNION ALL
    SELECT e.id, e.parent_id, up.height + 1
    FROM up JOIN durable.workflow_executions e ON e.id = up.parent_id
), family AS (
    SELECT id, 0 AS depth FROM (SELECT id FROM up ORDER BY height DESC LIMIT 1) AS root
    UNION ALL
    SELECT e.id, family.depth + 1
    FROM family JOIN durable.workflow_executions e ON e.parent_id = family.id
)
SELECT e.id::text, e.parent_id::text, e.parent_path, e.parent_visit, e.parent_index, e.workflow,
       e.status, e.queue, e.inserted_at, e.started_at, e.completed_at, shown.depth,
       CASE WHEN e.lock_token IS NULL THEN e.current_step
            ELSE coalesce(e.begun ->> 'path', e.current_step) END AS current_step
FROM (SELECT id, depth FROM family LIMIT %(most)s) AS shown
JOIN durable.workflow_executions e ON e.id = shown.id
ORDER BY shown.depth, e.parent_path, e.parent_index, e.inserted_at, e.id;

-- name: dashboard_logs
-- The lines that the attempts of an execution wrote, from `after` on.
SELECT s.path, s.visit, s.attempt, s.completed_at, entry.value AS entry,
       row_number() OVER (ORDER BY s.position, s.completed_at, s.id, entry.number)::integer
           AS number
FROM durable.step_executions s
CROSS JOIN LATERAL jsonb_array_elements(s.logs) WITH ORDINALITY AS entry (value, number)
WHERE s.execution_id = %(id)s::uuid
  AND (%(step)s::text IS NULL OR s.path = %(step)s)
  AND (%(levels)s::text[] IS NULL OR entry.value ->> 'level' = ANY(%(levels)s::text[]))
  AND (%(text)s::text IS NULL
       OR position(lower(%(text)s) IN lower(entry.value ->> 'message')) > 0)
ORDER BY s.position, s.completed_at, s.id, entry.number
LIMIT %(limit)s OFFSET %(after)s;

-- name: dashboard_log_totals
SELECT s.path, coalesce(entry.value ->> 'level', 'info') AS level, count(*)::integer AS count
FROM durable.step_executions s
CROSS JOIN LATERAL jsonb_array_elements(s.logs) AS entry (value)
WHERE s.execution_id = %(id)s::uuid
GROUP BY 1, 2 ORDER BY 1, 2;

-- name: dashboard_queue_ages
-- How long the longest due execution of each queue has waited.
SELECT queue, extract(epoch FROM durable.now() - min(scheduled_at))::double precision AS oldest
FROM durable.workflow_executions
WHERE status IN ('pending', 'compensating') AND lock_token IS NULL
  AND scheduled_at <= durable.now()
GROUP BY queue;

-- name: dashboard_queue_counts
-- What lives, by queue; what has ended is no load.
SELECT queue,
       count(*) FILTER (WHERE status = 'pending')::integer AS pending,
       count(*) FILTER (WHERE status = 'pending' AND scheduled_at > durable.now())::integer
           AS scheduled,
       count(*) FILTER (WHERE status = 'running')::integer AS running,
       count(*) FILTER (WHERE status = 'waiting')::integer AS waiting,
       count(*) FILTER (WHERE status = 'compensating')::integer AS compensating
FROM durable.workflow_executions
WHERE completed_at IS NULL
GROUP BY queue ORDER BY queue;

-- name: dashboard_queue_rates
-- How many families a minute have ended lately, by queue: of the last seconds, or of the newest `most`
-- in each status where there were more.
WITH newest AS MATERIALIZED (
    SELECT wanted.status, e.queue, e.completed_at
    FROM unnest(%(statuses)s::text[]) AS wanted (status)
    CROSS JOIN LATERAL (
        SELECT e.queue, e.completed_at
        FROM durable.workflow_executions e
        WHERE e.status = wanted.status AND e.parent_id IS NULL AND e.completed_at IS NOT NULL
          AND e.completed_at > durable.now() - make_interval(secs => %(seconds)s)
        ORDER BY e.completed_at DESC, e.id DESC
        LIMIT %(most)s
    ) AS e
), since AS (
    SELECT coalesce(max(oldest), durable.now() - make_interval(secs => %(seconds)s)) AS at
    FROM (SELECT min(completed_at) AS oldest FROM newest GROUP BY status
          HAVING count(*) >= %(most)s) AS full_up
)
SELECT n.queue, (60 * count(*) / greatest(1, extract(epoch FROM durable.now() - since.at)))
       ::double precision AS per_minute
FROM newest n CROSS JOIN since
WHERE n.completed_at >= since.at
GROUP BY n.queue, since.at;

-- name: dashboard_slots
-- What became of the last slots of each schedule, the oldest first.
SELECT wanted.name AS schedule, last.slot, e.id::text AS execution_id,
       coalesce(last.outcome, e.status, 'unknown') AS status
FROM unnest(%(names)s::text[]) AS wanted (name)
CROSS JOIN LATERAL (
    SELECT s.slot, s.execution_id, s.outcome
    FROM durable.schedule_slots s
    WHERE s.schedule = wanted.name
    ORDER BY s.slot DESC
    LIMIT %(most)s
) AS last
LEFT JOIN durable.workflow_executions e ON e.id = last.execution_id
ORDER BY wanted.name, last.slot;

-- name: dashboard_now
SELECT durable.now() AS now;

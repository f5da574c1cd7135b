-- Parents and children: the blocks that are open, and the executions that run in them.

-- name: origin
-- What an execution is that is not plain: whether it compensates, and which child of a block.
SELECT e.status = 'compensating' AS is_compensating, e.start_path, e.parent_index AS index,
       e.input AS item, f.input, f.context, f.results,
       coalesce(f.kind = 'each' AND e.start_path = e.parent_path, false) AS is_item
FROM durable.workflow_executions e
LEFT JOIN durable.fan_outs f
    ON f.execution_id = e.parent_id AND f.path = e.parent_path AND f.visit = e.parent_visit
   AND e.parent_index IS NOT NULL
WHERE e.id = %(id)s::uuid;

-- name: latest_results
SELECT results
FROM durable.step_executions
WHERE execution_id = %(id)s::uuid AND results IS NOT NULL AND status = 'completed'
ORDER BY position DESC LIMIT 1;

-- name: block_state
SELECT f.opened, f.total, f.on_error, EXISTS (
    SELECT FROM durable.workflow_executions child
    WHERE child.parent_id = f.execution_id AND child.parent_path = f.path
      AND child.parent_visit = f.visit AND child.completed_at IS NULL) AS is_live
FROM durable.fan_outs f
WHERE f.execution_id = %(id)s::uuid AND f.path = %(path)s AND f.visit = %(visit)s;

-- name: block_children
SELECT id::text, parent_index AS index, start_path, status, result, error, completed_at AS ended_at
FROM durable.workflow_executions
WHERE parent_id = %(id)s::uuid AND parent_path = %(path)s AND parent_visit = %(visit)s
  AND parent_index IS NOT NULL
ORDER BY parent_index;

-- name: hold_parent
-- fenced
-- Before its children, as everywhere.
SELECT id FROM durable.workflow_executions
WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
FOR UPDATE;

-- name: open_fan_out
-- payload: items, input, context, results
INSERT INTO durable.fan_outs
    (execution_id, path, visit, kind, on_error, max_concurrency, total, items, input, context,
     results, opened_at)
VALUES (%(id)s::uuid, %(path)s, %(visit)s, %(kind)s, %(on_error)s, %(max_concurrency)s, %(total)s,
        %(items)s::jsonb, %(input)s::jsonb, %(context)s::jsonb, %(results)s::jsonb, durable.now())
ON CONFLICT DO NOTHING;

-- name: create_children
-- The next children of a block that is being opened: those that may run begin, the others are kept
-- until they may. The items are taken apart once, not once a child.
WITH block AS (
    SELECT f.*, e.workflow, e.version, e.priority
    FROM durable.fan_outs f
    JOIN durable.workflow_executions e ON e.id = f.execution_id
    WHERE f.execution_id = %(id)s::uuid AND f.path = %(path)s AND f.visit = %(visit)s
), given AS (
    SELECT item.value, item.number - 1 AS index
    FROM block CROSS JOIN jsonb_array_elements(block.items) WITH ORDINALITY AS item (value, number)
    WHERE item.number > block.opened AND item.number <= block.opened + cardinality(%(ids)s::uuid[])
), next AS (
    SELECT n AS index, (%(ids)s::uuid[])[n - block.opened + 1] AS id, given.value AS item,
           start.path AS start_path, start.queue,
           n < coalesce(block.max_concurrency, block.total) AS may_begin
    FROM block
    CROSS JOIN generate_series(
        block.opened, least(block.opened + cardinality(%(ids)s::uuid[]), block.total) - 1) AS n
    JOIN unnest(%(start_paths)s::text[], %(queues)s::text[]) WITH ORDINALITY
        AS start (path, queue, number)
        ON start.number = least(n + 1, cardinality(%(start_paths)s::text[]))
    LEFT JOIN given ON given.index = n
), begun AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, parent_id, parent_path, parent_visit,
         parent_index, start_path, scheduled_at, inserted_at, updated_at)
    SELECT next.id, block.workflow, block.version, next.queue, block.priority, next.item,
           block.execution_id, block.path, block.visit, next.index, next.start_path,
           durable.now(), durable.now(), durable.now()
    FROM block CROSS JOIN next
    WHERE next.may_begin
    ORDER BY next.index
    RETURNING queue
), kept AS (
    INSERT INTO durable.fan_out_items
        (execution_id, path, visit, index, start_path, queue, item)
    SELECT block.execution_id, block.path, block.visit, next.index, next.start_path, next.queue,
           next.item
    FROM block CROSS JOIN next
    WHERE NOT next.may_begin
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM begun) q
)
UPDATE durable.fan_outs f
SET opened = f.opened + (SELECT count(*) FROM next)::integer,
    created = f.created + (SELECT count(*) FROM begun)::integer,
    items = CASE WHEN f.opened + (SELECT count(*) FROM next) < f.total THEN f.items END
FROM block
WHERE f.execution_id = block.execution_id AND f.path = block.path AND f.visit = block.visit
RETURNING f.opened, f.total, (SELECT count(*) FROM told) AS told;

-- name: await_children
-- move: suspend
-- fenced
-- The parent waits for its block, with the last batch of children and not before.
WITH held AS (
    UPDATE durable.workflow_executions
    SET status = 'waiting', current_step = %(path)s, updated_at = durable.now(), scheduled_at = NULL,
        lock_token = NULL, locked_by = NULL, locked_at = NULL, begun = NULL
    WHERE id = %(id)s::uuid AND lock_token = %(lock_token)s::uuid AND status = 'running'
    RETURNING id
)
INSERT INTO durable.waits (id, execution_id, path, visit, ordinal, kind, created_at)
SELECT %(wait_id)s::uuid, held.id, %(path)s, %(visit)s, 0, 'child', durable.now()
FROM held
ON CONFLICT (execution_id, path, visit, ordinal) DO UPDATE
SET id = excluded.id, status = 'open', answered_at = NULL
RETURNING id;

-- name: block_is_awaited
-- Whether an earlier try of await_children had been committed.
SELECT EXISTS (SELECT FROM durable.waits WHERE id = %(wait_id)s::uuid) AS awaited;

-- name: parents_asking
-- Without a lock: most ends of children ask for nothing, and do not queue for the parent's row.
SELECT DISTINCT w.execution_id::text AS id
FROM durable.waits w
JOIN durable.workflow_executions e ON e.id = w.execution_id AND e.status = 'waiting'
WHERE w.execution_id = ANY(%(parents)s::uuid[]) AND w.status = 'open' AND w.kind = 'child'
  AND durable.children_ask(w.execution_id, w.path, w.visit, w.child_id);

-- name: parents_left_asking
-- Those that nobody looked at: a crash between a child's end and the look, or a hand-written end.
SELECT DISTINCT w.execution_id::text AS id
FROM durable.waits w
JOIN durable.workflow_executions e ON e.id = w.execution_id AND e.status = 'waiting'
WHERE w.status = 'open' AND w.kind = 'child'
  AND durable.children_ask(w.execution_id, w.path, w.visit, w.child_id)
LIMIT %(batch_size)s;

-- name: parents_of_orphans
-- Parents that have ended, or undo what they did, while children of theirs go on for nobody.
SELECT DISTINCT parent.id::text
FROM durable.workflow_executions child
JOIN durable.workflow_executions parent ON parent.id = child.parent_id
WHERE child.parent_id IS NOT NULL AND child.completed_at IS NULL
  AND child.status IN ('pending', 'running', 'waiting')
  AND parent.status NOT IN ('pending', 'running', 'waiting')
LIMIT %(batch_size)s;

-- name: lock_live_children
-- Their parent is locked already.
SELECT id::text FROM durable.workflow_executions
WHERE parent_id = %(id)s::uuid AND completed_at IS NULL
ORDER BY id
FOR UPDATE;

-- name: child_waits_of
-- What a parent waits for; its row is locked, and this statement sees what was committed by then.
SELECT w.id::text, w.path, w.visit, w.child_id IS NOT NULL AS is_call,
       f.total, f.created, f.max_concurrency, f.on_error,
       CASE WHEN w.child_id IS NOT NULL THEN (
           SELECT count(*) FROM durable.workflow_executions child
           WHERE child.id = w.child_id AND child.completed_at IS NULL)
       ELSE (
           SELECT count(*) FROM durable.workflow_executions child
           WHERE child.parent_id = w.execution_id AND child.parent_path = w.path
             AND child.parent_visit = w.visit AND child.completed_at IS NULL) END AS live,
       failed.path AS failed_path, failed.index AS failed_index
FROM durable.waits w
LEFT JOIN durable.fan_outs f
    ON f.execution_id = w.execution_id AND f.path = w.path AND f.visit = w.visit
   AND w.child_id IS NULL
LEFT JOIN LATERAL (
    SELECT child.start_path AS path, child.parent_index AS index
    FROM durable.workflow_executions child
    WHERE f.on_error = 'fail_fast' AND child.parent_id = f.execution_id
      AND child.parent_path = f.path AND child.parent_visit = f.visit
      AND child.parent_index IS NOT NULL
      AND child.status IN ('failed', 'cancelled', 'compensating', 'compensated',
                           'compensation_failed')
    ORDER BY child.completed_at, child.parent_index
    LIMIT 1) AS failed ON true
WHERE w.execution_id = %(id)s::uuid AND w.status = 'open' AND w.kind = 'child';

-- name: create_next_children
-- As many more of a block's children as may run; its parent is locked.
WITH next AS (
    DELETE FROM durable.fan_out_items i
    WHERE i.execution_id = %(id)s::uuid AND i.path = %(path)s AND i.visit = %(visit)s
      AND i.index IN (
          SELECT first.index FROM durable.fan_out_items first
          WHERE first.execution_id = %(id)s::uuid AND first.path = %(path)s
            AND first.visit = %(visit)s
          ORDER BY first.index
          LIMIT cardinality(%(ids)s::uuid[]))
    RETURNING i.*
), begun AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, parent_id, parent_path, parent_visit,
         parent_index, start_path, scheduled_at, inserted_at, updated_at)
    SELECT (%(ids)s::uuid[])[row_number() OVER (ORDER BY next.index)], e.workflow, e.version,
           next.queue, e.priority, next.item, e.id, next.path, next.visit, next.index,
           next.start_path, durable.now(), durable.now(), durable.now()
    FROM next JOIN durable.workflow_executions e ON e.id = next.execution_id
    RETURNING queue
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM begun) q
)
UPDATE durable.fan_outs f
SET created = f.created + (SELECT count(*) FROM begun)::integer
WHERE f.execution_id = %(id)s::uuid AND f.path = %(path)s AND f.visit = %(visit)s
RETURNING f.created, (SELECT count(*) FROM told) AS told;

-- name: lock_siblings
-- A block's children that have not ended; their parent is locked.
SELECT id::text FROM durable.workflow_executions
WHERE parent_id = %(id)s::uuid AND parent_path = %(path)s AND parent_visit = %(visit)s
  AND completed_at IS NULL
ORDER BY id
FOR UPDATE;

-- name: wake_parent
-- move: wake
-- What it waited for is there. The row is locked by the same transaction.
WITH answered AS (
    UPDATE durable.waits SET status = %(answer)s, answered_at = durable.now()
    WHERE id = ANY(%(wait_ids)s::uuid[]) AND status = 'open'
), woken AS (
    UPDATE durable.workflow_executions
    SET status = 'pending', scheduled_at = durable.now(), updated_at = durable.now()
    WHERE id = %(id)s::uuid AND status = 'waiting'
    RETURNING id, queue
)
SELECT id::text, pg_notify('durable:queue', queue) FROM woken;

-- name: create_called_children
-- payload: inputs, timeout_values
-- The children that a step calls, with the waits for them that the same transaction has written. A
-- name that is known stands for the child that has it; a child that failed under an earlier attempt
-- of this visit is called afresh.
WITH asked AS (
    SELECT * FROM unnest(
        %(ordinals)s::integer[], %(child_ids)s::uuid[], %(refs)s::text[], %(workflows)s::text[],
        %(versions)s::text[], %(queues)s::text[], %(priorities)s::integer[], %(inputs)s::text[],
        %(timeouts)s::double precision[], %(patiences)s::double precision[],
        %(have_values)s::boolean[], %(timeout_values)s::text[])
        AS asked (ordinal, child_id, ref, workflow, version, queue, priority, input, timeout,
                  patience, has_value, timeout_value)
), awaited AS (
    SELECT asked.*, w.id AS wait_id, known.id AS known_id
    FROM asked
    JOIN durable.waits w
        ON w.execution_id = %(id)s::uuid AND w.path = %(path)s AND w.visit = %(visit)s
       AND w.ordinal = asked.ordinal AND w.kind = 'child'
    LEFT JOIN LATERAL (
        SELECT child.id
        FROM durable.waits other
        JOIN durable.workflow_executions child ON child.id = other.child_id
        WHERE other.execution_id = %(id)s::uuid AND other.kind = 'child'
          AND other.names = ARRAY[asked.ref]
          AND (child.completed_at IS NULL OR child.status = 'completed'
               OR (child.parent_path, child.parent_visit) <> (%(path)s, %(visit)s))
        ORDER BY child.id DESC
        LIMIT 1) AS known ON asked.ref IS NOT NULL
    WHERE w.child_id IS NULL OR w.status <> 'open' OR EXISTS (
        SELECT FROM durable.workflow_executions ended
        WHERE ended.id = w.child_id AND ended.completed_at IS NOT NULL)
), linked AS (
    UPDATE durable.waits w
    SET child_id = coalesce(awaited.known_id, awaited.child_id), status = 'open',
        answered_at = NULL, names = CASE WHEN awaited.ref IS NULL THEN '{}' ELSE ARRAY[awaited.ref] END,
        due_at = durable.now() + make_interval(secs => awaited.patience),
        has_timeout_value = awaited.has_value, timeout_value = awaited.timeout_value::jsonb,
        attempt = 1 + (SELECT count(*) FROM durable.step_executions s
                       WHERE s.execution_id = %(id)s::uuid AND s.path = %(path)s
                         AND s.visit = %(visit)s AND s.status = 'failed' AND NOT s.is_compensation)
    FROM awaited
    WHERE w.id = awaited.wait_id
), called AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, parent_id, parent_path, parent_visit,
         scheduled_at, deadline_at, inserted_at, updated_at)
    SELECT awaited.child_id, awaited.workflow, awaited.version, awaited.queue, awaited.priority,
           awaited.input::jsonb, %(id)s::uuid, %(path)s, %(visit)s, durable.now(),
           durable.now() + make_interval(secs => awaited.timeout), durable.now(), durable.now()
    FROM awaited
    WHERE awaited.known_id IS NULL
    ORDER BY awaited.ordinal
    RETURNING id, queue
), told AS (
    SELECT pg_notify('durable:queue', queue) FROM (SELECT DISTINCT queue FROM called) q
    UNION ALL
    SELECT pg_notify('durable:timeout', '')
    WHERE EXISTS (SELECT FROM awaited WHERE patience IS NOT NULL OR timeout IS NOT NULL)
)
SELECT called.id::text, (SELECT count(*) FROM told) AS told FROM called;

-- name: called_children_of
-- How the workflows that a visit has called have ended, by the ordinals of their waits.
SELECT w.ordinal, w.names, w.status AS wait_status, w.attempt, w.has_timeout_value, w.timeout_value,
       child.id::text, child.workflow, child.status, child.input, child.error
FROM durable.waits w
JOIN durable.workflow_executions child ON child.id = w.child_id
WHERE w.execution_id = %(id)s::uuid AND w.path = %(path)s AND w.visit = %(visit)s
  AND w.kind = 'child'
ORDER BY w.ordinal;

-- name: start_once
-- fenced
-- payload: input
-- An execution that nobody waits for, and the note that it was started, in one statement: a body
-- that runs again finds the note. It is nobody's child.
WITH held AS (
    SELECT e.id FROM durable.workflow_executions e
    WHERE e.id = %(id)s::uuid AND e.lock_token = %(lock_token)s::uuid AND e.status = 'running'
    FOR SHARE
), noted AS (
    INSERT INTO durable.once_results (execution_id, path, visit, key, result)
    SELECT held.id, '', 0, %(key)s, to_jsonb(%(child_id)s::text) FROM held
    ON CONFLICT DO NOTHING
    RETURNING result
), started AS (
    INSERT INTO durable.workflow_executions
        (id, workflow, version, queue, priority, input, scheduled_at, deadline_at, inserted_at,
         updated_at)
    SELECT %(child_id)s::uuid, %(workflow)s, %(version)s, %(queue)s, %(priority)s, %(input)s::jsonb,
           durable.now(), durable.now() + make_interval(secs => %(timeout)s::double precision),
           durable.now(), durable.now()
    FROM noted
    RETURNING queue
)
SELECT result #>> '{}' AS id, (SELECT pg_notify('durable:queue', queue) FROM started) FROM noted;

-- name: started_once
SELECT result #>> '{}' AS id FROM durable.once_results
WHERE execution_id = %(id)s::uuid AND path = '' AND visit = 0 AND key = %(key)s;

-- name: calls_past_their_time
SELECT w.id::text, w.execution_id::text AS parent, w.child_id::text AS child
FROM durable.waits w
WHERE w.status = 'open' AND w.kind = 'child' AND w.kind <> 'sleep' AND w.child_id IS NOT NULL
  AND w.due_at <= durable.now()
ORDER BY w.due_at
LIMIT %(batch_size)s;

-- name: call_is_past_its_time
-- The same of one call, whose parent and child are locked: a child that has ended meanwhile wins.
SELECT w.id::text FROM durable.waits w
JOIN durable.workflow_executions child ON child.id = w.child_id AND child.completed_at IS NULL
WHERE w.id = %(wait_id)s::uuid AND w.status = 'open' AND w.due_at <= durable.now();

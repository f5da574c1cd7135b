-- Whether anything is left for a node to do. Nothing here locks or writes.

-- name: work_left
-- One statement, so one moment: what moves from one of these to another is seen in one of them. Held
-- by whoever it is; due, if the queue is not paused for this node; begun and to be tried again,
-- whenever that is; waiting for what has come already, and is about to be told. What waits for
-- anything else, and what has not begun and is not due, is left to another day.
WITH open AS MATERIALIZED (
    SELECT named.queue FROM unnest(%(queues)s::text[]) AS named (queue)
    WHERE NOT EXISTS (
        SELECT FROM durable.queues q
        WHERE q.queue = named.queue AND q.node_id IN ('', %(node_id)s) AND q.paused)
), known AS MATERIALIZED (
    SELECT k.workflow, k.version
    FROM unnest(%(workflows)s::text[], %(versions)s::text[]) AS k (workflow, version)
)
SELECT EXISTS (
    SELECT FROM durable.workflow_executions e
    WHERE e.locked_by IS NOT NULL AND e.queue = ANY(%(queues)s::text[])
      AND (e.workflow::text, e.version) IN (SELECT * FROM known)
) OR EXISTS (
    SELECT FROM open
    JOIN durable.workflow_executions e ON e.queue = open.queue
    WHERE e.status IN ('pending', 'compensating') AND e.lock_token IS NULL
      AND (e.scheduled_at <= durable.now() OR e.started_at IS NOT NULL)
      AND (e.workflow::text, e.version) IN (SELECT * FROM known)
) OR EXISTS (
    SELECT FROM durable.workflow_executions e
    WHERE e.status = 'waiting' AND e.scheduled_at <= durable.now()
      AND e.queue IN (SELECT * FROM open)
      AND (e.workflow::text, e.version) IN (SELECT * FROM known)
) OR EXISTS (
    SELECT FROM durable.workflow_executions e
    WHERE e.status IN ('pending', 'running', 'waiting') AND e.deadline_at <= durable.now()
      AND e.queue = ANY(%(queues)s::text[])
      AND (e.workflow::text, e.version) IN (SELECT * FROM known)
) OR EXISTS (
    SELECT FROM durable.waits w
    JOIN durable.workflow_executions e ON e.id = w.execution_id
    WHERE w.status = 'open' AND e.status = 'waiting' AND e.queue IN (SELECT * FROM open)
      AND (e.workflow::text, e.version) IN (SELECT * FROM known)
      AND (w.kind <> 'sleep' AND w.due_at <= durable.now()
           OR w.kind = 'child' AND durable.children_ask(w.execution_id, w.path, w.visit, w.child_id)
           OR w.kind = 'turn' AND e.concurrency_limit > (
               SELECT count(*) FROM durable.workflow_executions taken
               WHERE taken.concurrency_key = e.concurrency_key AND taken.completed_at IS NULL
                 AND NOT (taken.status = 'waiting' AND taken.started_at IS NULL)))
) OR EXISTS (
    SELECT FROM durable.scheduled_workflows s
    WHERE s.enabled AND s.next_run_at <= durable.now() AND s.workflow IN (SELECT workflow FROM known)
) AS is_left;

-- What is wrong with a schema and its server, each with how many and the first ten of them. Nothing
-- here locks or writes. Bounds are seconds of the database's clock.

-- name: stale_claims
SELECT count(*) OVER ()::integer AS count, id::text AS example
FROM durable.workflow_executions
WHERE locked_by IS NOT NULL AND locked_at < durable.now() - make_interval(secs => %(stale)s)
ORDER BY locked_at LIMIT 10;

-- name: silent_managers
-- Managers that say nothing any more and still hold claims: nobody took them back.
SELECT count(*) OVER ()::integer AS count, m.id AS example
FROM durable.queue_managers m
WHERE m.seen_at < durable.now() - make_interval(secs => %(silent)s)
  AND EXISTS (SELECT FROM durable.workflow_executions e WHERE e.locked_by = m.id)
ORDER BY m.seen_at LIMIT 10;

-- name: living_managers
SELECT id FROM durable.queue_managers
WHERE seen_at >= durable.now() - make_interval(secs => %(silent)s);

-- name: zombies
SELECT count(*) OVER ()::integer AS count, e.id::text AS example
FROM durable.workflow_executions e
WHERE e.status = 'waiting' AND e.scheduled_at IS NULL
  AND e.updated_at < durable.now() - make_interval(secs => %(stale)s)
  AND NOT EXISTS (SELECT FROM durable.waits w WHERE w.execution_id = e.id AND w.status = 'open')
ORDER BY e.updated_at LIMIT 10;

-- name: overdue_sleepers
SELECT count(*) OVER ()::integer AS count, id::text AS example
FROM durable.workflow_executions
WHERE status = 'waiting' AND scheduled_at < durable.now() - make_interval(secs => %(overdue)s)
ORDER BY scheduled_at LIMIT 10;

-- name: overdue_waits
SELECT count(*) OVER ()::integer AS count, execution_id::text AS example
FROM durable.waits
WHERE status = 'open' AND kind <> 'sleep'
  AND due_at < durable.now() - make_interval(secs => %(overdue)s)
ORDER BY due_at LIMIT 10;

-- name: overdue_deadlines
SELECT count(*) OVER ()::integer AS count, id::text AS example
FROM durable.workflow_executions
WHERE deadline_at < durable.now() - make_interval(secs => %(overdue)s)
  AND status IN ('pending', 'running', 'waiting')
ORDER BY deadline_at LIMIT 10;

-- name: unserved_queues
-- Queues with something that has been due for long and that no node runs; a paused one is meant so.
SELECT count(*) OVER ()::integer AS count, queue AS example
FROM durable.workflow_executions e
WHERE status IN ('pending', 'compensating') AND lock_token IS NULL
  AND scheduled_at < durable.now() - make_interval(secs => %(overdue)s)
  AND NOT queue = ANY(%(served)s::text[])
GROUP BY queue ORDER BY queue LIMIT 10;

-- name: disabled_schedules
SELECT count(*) OVER ()::integer AS count, name AS example
FROM durable.scheduled_workflows
WHERE auto_disabled_at IS NOT NULL AND NOT enabled
ORDER BY auto_disabled_at LIMIT 10;

-- name: failing_schedules
SELECT count(*) OVER ()::integer AS count, name AS example
FROM durable.scheduled_workflows
WHERE enabled AND consecutive_failures > 0
ORDER BY consecutive_failures DESC, name LIMIT 10;

-- name: late_schedules
SELECT count(*) OVER ()::integer AS count, name AS example
FROM durable.scheduled_workflows
WHERE enabled AND next_run_at < durable.now() - make_interval(secs => %(overdue)s)
ORDER BY next_run_at LIMIT 10;

-- name: long_transactions
-- Whatever dead rows an open transaction might still see stay where they are, and claims step over
-- each of them.
SELECT count(*) OVER ()::integer AS count,
       format('pid %%s (%%s, %%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'), state)
           AS example
FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_catalog.pg_backend_pid() AND backend_xmin IS NOT NULL
  AND xact_start < now() - make_interval(secs => %(long)s)
ORDER BY xact_start LIMIT 10;

-- name: dead_rows
-- Tables of which more is dead than autovacuum should have left.
SELECT count(*) OVER ()::integer AS count, relname::text AS example
FROM pg_catalog.pg_stat_user_tables
WHERE relid IN ('durable.workflow_executions'::regclass, 'durable.step_executions'::regclass,
                'durable.waits'::regclass)
  AND n_dead_tup > 100000 AND n_dead_tup > n_live_tup
ORDER BY n_dead_tup DESC LIMIT 10;

-- name: invalid_indexes
SELECT count(*) OVER ()::integer AS count, i.indexrelid::regclass::text AS example
FROM pg_catalog.pg_index i
JOIN pg_catalog.pg_class c ON c.oid = i.indrelid
WHERE NOT i.indisvalid
  AND c.relnamespace = (SELECT relnamespace FROM pg_catalog.pg_class
                        WHERE oid = 'durable.workflow_executions'::regclass)
ORDER BY i.indexrelid LIMIT 10;

-- name: connections_used
SELECT (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend')
           ::integer AS count,
       current_setting('max_connections')::integer
           - current_setting('superuser_reserved_connections')::integer AS connections;

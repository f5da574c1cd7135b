-- What the server itself allows.

-- name: connection_limit
-- What is left for ordinary roles when superusers have kept their share.
SELECT current_setting('max_connections')::integer
       - current_setting('superuser_reserved_connections')::integer AS connections;

-- name: database_health
-- What the server says of itself: how large it is, what it waits for, who is connected.
SELECT pg_database_size(current_database()) AS bytes,
       current_setting('server_version') AS version,
       (SELECT count(*) FROM pg_catalog.pg_stat_activity
        WHERE backend_type = 'client backend')::integer AS connections,
       current_setting('max_connections')::integer AS most_connections,
       (SELECT extract(epoch FROM max(now() - a.xact_start)) FROM pg_catalog.pg_stat_activity a
        WHERE a.datname = current_database() AND a.backend_type = 'client backend'
          AND a.pid <> pg_backend_pid())::double precision AS oldest_transaction,
       (SELECT count(*) FROM pg_catalog.pg_locks l WHERE NOT l.granted)::integer AS waiting_locks,
       pg_notification_queue_usage() AS notifications;

-- name: table_sizes
-- The schema's tables, the largest first: rows that live and that are dead, as the statistics have it.
SELECT t.relname AS name, pg_total_relation_size(t.relid) AS bytes, t.n_live_tup AS living,
       t.n_dead_tup AS dead, greatest(t.last_vacuum, t.last_autovacuum) AS vacuumed_at
FROM pg_catalog.pg_stat_user_tables t
WHERE t.relid IN (SELECT c.oid FROM pg_catalog.pg_class c
                  WHERE c.relnamespace = (SELECT n.relnamespace FROM pg_catalog.pg_class n
                                          WHERE n.oid = 'durable.workflow_executions'::regclass))
ORDER BY 2 DESC, 1 LIMIT 20;

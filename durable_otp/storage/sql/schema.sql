-- What the migrator says besides the migrations themselves: who may migrate, which version a
-- schema has, and the clock that tests can move.

-- name: lock_migrations
-- One migrator of a schema at a time; the others wait here, also for the schema to be created.
SELECT pg_advisory_xact_lock(hashtextextended('durable:migrations', 0));

-- name: limit_lock_wait
-- A migration that waits for a lock makes everybody else wait behind it: not for long.
SELECT set_config('lock_timeout', %(milliseconds)s::text, true);

-- name: schema_exists
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = %(schema)s) AS found;

-- name: create_schema
CREATE SCHEMA durable;

-- name: version_is_recorded
-- Read from the catalogue: to_regclass answers from a cache that an advisory lock does not refresh.
SELECT EXISTS (
    SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = %(schema)s AND c.relname = 'schema_version') AS found;

-- name: create_schema_version
CREATE TABLE durable.schema_version (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- name: schema_version
SELECT coalesce(max(version), 0) AS version FROM durable.schema_version;

-- name: record_version
INSERT INTO durable.schema_version (version, name) VALUES (%(version)s, %(name)s);

-- name: forget_version
DELETE FROM durable.schema_version WHERE version = %(version)s;

-- name: drop_schema_version
DROP TABLE durable.schema_version;

-- name: drop_test_clock
DROP TABLE IF EXISTS durable.test_clock;

-- name: schema_may_go
-- Whether nothing is left in it and it is ours; `public` belongs to everybody.
SELECT nspname <> 'public' AND pg_has_role(nspowner, 'USAGE') AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_depend d
           WHERE d.refclassid = 'pg_catalog.pg_namespace'::regclass AND d.refobjid = n.oid) AS empty
FROM pg_catalog.pg_namespace n
WHERE nspname = %(schema)s;

-- name: drop_schema
DROP SCHEMA durable;

-- name: create_test_clock
CREATE TABLE IF NOT EXISTS durable.test_clock (
    "offset" interval NOT NULL DEFAULT '0',
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

-- name: start_test_clock
INSERT INTO durable.test_clock DEFAULT VALUES ON CONFLICT DO NOTHING;

-- name: follow_test_clock
-- STABLE like the function it replaces: read once a scan, so that the indexes are still used.
CREATE OR REPLACE FUNCTION durable.now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE
AS 'SELECT now() + (SELECT "offset" FROM durable.test_clock)';

-- name: advance_test_clock
-- Everybody who sleeps until a due time is told, for it may have come nearer.
WITH moved AS (
    UPDATE durable.test_clock SET "offset" = "offset" + %(interval)s RETURNING "offset"
)
SELECT pg_notify('durable:sleep', '*'), pg_notify('durable:timeout', '*'),
       pg_notify('durable:schedule', '*'), pg_notify('durable:queue', '*')
FROM moved;

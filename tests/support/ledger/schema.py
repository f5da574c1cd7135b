"""The ledger's tables, and the triggers on the product's tables that write into it.

A trigger runs inside the writer's own transaction, so a row that was rolled back leaves no line,
and a state that lasted for a millisecond leaves one.
"""

WATCHED = {
    "workflow_executions": ("id", "id"),
    "step_executions": ("execution_id", "id"),
    "waits": ("execution_id", "id"),
    "events": ("execution_id", "id"),
    "pending_inputs": ("execution_id", "id"),
    "schedule_slots": ("execution_id", "schedule"),
}
"""Each watched table: the column with the execution, and the one with the row's own id."""

# What a line keeps of a row: enough to judge it by, and no payload.
KEPT = {
    "workflow_executions": (
        "workflow",
        "queue",
        "parent_id",
        "parent_path",
        "parent_visit",
        "parent_index",
        "crashes",
        "interruptions",
        "crash_streak",
        "retried_at",
        "locked_by",
        "concurrency_key",
        "concurrency_limit",
    ),
    "step_executions": ("path", "visit", "attempt", "position", "is_compensation", "type"),
    "waits": ("path", "visit", "ordinal", "kind", "due_at", "child_id", "names"),
    "events": ("name", "consumed_by"),
    "pending_inputs": ("name", "wait_id"),
    "schedule_slots": ("schedule", "slot", "outcome"),
}

TABLES = r"""
CREATE SCHEMA {l};
CREATE SEQUENCE {l}.number;
CREATE TABLE {l}.effect (
    n bigint PRIMARY KEY DEFAULT nextval('{l}.number'), key text NOT NULL, execution uuid NOT NULL,
    step text, attempt integer, pid integer, phase text NOT NULL CHECK (phase IN ('begin', 'end')),
    detail text, t timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE {l}.intent (
    n bigint PRIMARY KEY DEFAULT nextval('{l}.number'), key text NOT NULL,
    verb text NOT NULL DEFAULT 'start', t timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE {l}.ack (
    n bigint PRIMARY KEY DEFAULT nextval('{l}.number'), key text NOT NULL, execution uuid,
    t timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE {l}.fault (
    n bigint PRIMARY KEY DEFAULT nextval('{l}.number'), kind text NOT NULL, target text,
    phase text NOT NULL CHECK (phase IN ('begin', 'end', 'moment')),
    t timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE {l}.moves (
    n bigint PRIMARY KEY DEFAULT nextval('{l}.number'), what text NOT NULL, op text NOT NULL,
    execution uuid, row text NOT NULL, old_status text, new_status text, old_token uuid,
    new_token uuid, old jsonb, new jsonb, backend integer NOT NULL DEFAULT pg_backend_pid(),
    app text NOT NULL DEFAULT current_setting('application_name'),
    statement text DEFAULT substring(current_query() from '^/\* (\w+)'),
    txid bigint NOT NULL DEFAULT txid_current(), now timestamptz NOT NULL,
    t timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE INDEX ON {l}.moves (execution, n);
CREATE FUNCTION {l}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: %% of %%', TG_OP, TG_TABLE_NAME;
END
$$;
"""

APPEND_ONLY = """
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {l}.{table}
    FOR EACH STATEMENT EXECUTE FUNCTION {l}.refuse();
"""

WATCH = """
CREATE OR REPLACE FUNCTION {l}.watch_{table}() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    before jsonb := CASE TG_OP WHEN 'INSERT' THEN '{{}}' ELSE to_jsonb(OLD) END;
    after jsonb := CASE TG_OP WHEN 'DELETE' THEN '{{}}' ELSE to_jsonb(NEW) END;
    either jsonb := before || after;
    held_under uuid := after ->> 'lock_token';
BEGIN
    IF {touched} THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'step_executions' AND TG_OP = 'INSERT' THEN
        SELECT lock_token INTO held_under
        FROM {s}.workflow_executions WHERE id = (either ->> 'execution_id')::uuid;
    END IF;
    INSERT INTO {l}.moves (what, op, execution, row, old_status, new_status, old_token, new_token,
                           old, new, now)
    VALUES (TG_TABLE_NAME, left(TG_OP, 1), (either ->> '{execution}')::uuid, either ->> '{row}',
            before ->> 'status', after ->> 'status', (before ->> 'lock_token')::uuid, held_under,
            jsonb_build_object({old}), jsonb_build_object({new}), {s}.now());
    RETURN NULL;
END
$$;
CREATE TRIGGER ledger_watches AFTER INSERT OR UPDATE OR DELETE ON {s}.{table}
    FOR EACH ROW EXECUTE FUNCTION {l}.watch_{table}();
"""

# A heartbeat changes neither status nor token nor what is kept, and would drown the rest.
_BEATING = "'{locked_at,begun,updated_at,watched}'::text[]"
_UNTOUCHED = f"TG_OP = 'UPDATE' AND before - {_BEATING} = after - {_BEATING}"


def statements(schema: str, ledger: str) -> list[str]:
    """Return the DDL that makes a ledger and lets it watch a migrated schema."""
    tables = ("effect", "intent", "ack", "fault", "moves")
    guards = [APPEND_ONLY.format(l=ledger, table=table) for table in tables]
    return [TABLES.format(l=ledger).replace("%%", "%"), *guards, *watching(schema, ledger)]


def watching(schema: str, ledger: str) -> list[str]:
    """Return the triggers alone: a schema that is migrated anew has lost them."""
    return [
        WATCH.format(
            l=ledger,
            s=schema,
            table=table,
            execution=execution,
            row=row,
            old=_kept(table, "before"),
            new=_kept(table, "after"),
            touched=_UNTOUCHED,
        )
        for table, (execution, row) in WATCHED.items()
    ]


def _kept(table: str, record: str) -> str:
    return ", ".join(f"'{column}', {record} -> '{column}'" for column in KEPT[table])

"""What runs for every execution names it in every table that it touches; a claim names its queue.

That is what lets the journal be partitioned by the execution's id (`docs/scaling.md`), and what an
engine that spreads tables over machines would ask for.
"""

import re

import pytest

from durable_otp.storage.statements import StatementText, catalogue

KEYS = {
    "workflow_executions": "id",
    "step_executions": "execution_id",
    "waits": "execution_id",
    "events": "execution_id",
    "once_results": "execution_id",
    "pending_inputs": "execution_id",
    "fan_outs": "execution_id",
    "fan_out_items": "execution_id",
}
"""By table, the column that holds the execution's id."""

READ_AT_EVERY_RUN = (
    "journal_since_snapshot",
    "visits_of",
    "attempts_of",
    "waits_of",
    "step_is_recorded",
    "once_results_of",
    "status_of",
    "write_batch",
)
CLAIMS = ("fetch_jobs", "next_due")
TABLE = re.compile(
    r"\b(?:FROM|JOIN|UPDATE|USING) durable\.(?P<table>\w+)\b"
    r"(?: (?:AS )?(?P<alias>(?!SET|WHERE|ON|JOIN|CROSS|LEFT|ORDER|GROUP|FOR)\w+))?"
)
FAMILY_WALKS = frozenset({"to_undo"})
"""What goes from a parent to its children, whose keys are others; it runs once in a failed saga."""
FENCED = {text.name for text in catalogue().values() if text.fenced} - FAMILY_WALKS


def unkeyed(text: StatementText, keys: dict[str, str]) -> list[str]:
    """Return the tables that a statement reaches without saying under which key."""
    found = []
    for each in TABLE.finditer(text.sql):
        table, alias = each["table"], each["alias"]
        if table in keys and not _names(text.sql, alias, keys[table]):
            found.append(each[0])
    return found


def _names(sql: str, alias: str | None, key: str) -> bool:
    column = rf"\b{alias}\.{key}\b" if alias else rf"(?<![\w.]){key}\b"
    return re.search(rf"{column} (?:=|IN \()|= {column}", sql) is not None


@pytest.mark.parametrize("name", sorted({*FENCED, *READ_AT_EVERY_RUN}))
def test_what_runs_for_an_execution_names_it_in_every_table(name: str) -> None:
    assert unkeyed(catalogue()[name], KEYS) == []


@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_names_its_queue_in_every_look(name: str) -> None:
    sql = catalogue()[name].sql
    looks = sql.count("FROM durable.workflow_executions e")
    assert looks == sql.count("e.queue = %(queue)s") > 0


def test_a_table_without_its_key_is_found() -> None:
    sql = "SELECT FROM durable.waits w WHERE w.status = 'open'"
    lost = StatementText("lost", sql, moves=(), fenced=False, file="")
    assert unkeyed(lost, KEYS) == ["FROM durable.waits w"]

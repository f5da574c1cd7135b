"""What two verbs leave behind, without what differs from run to run: ids, tokens and times."""

import re
from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import Any

from tests.support.tables import HOLDER, Tables

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
TABLES = {
    "workflow_executions": "started_at, locked_at, inserted_at, updated_at, completed_at",
    "step_executions": "id, started_at, completed_at, duration_ms, cpu_seconds, peak_rss, process",
    "waits": "id, created_at, answered_at, due_at",
    "events": "id, sent_at, consumed_at, number",
    "pending_inputs": "id, wait_id, created_at, completed_at, timeout_at, answer_id",
    "once_results": "",
    "fan_outs": "opened_at",
    "fan_out_items": "",
    "queue_limits": "tokens, refilled_at, updated_at",
}
"""The columns of each table that are compared by being there only."""
EVERY_ROW = " UNION ALL ".join(
    f"SELECT '{table}' AS kind, to_jsonb(t) AS fields, durable.now() AS now FROM durable.{table} t"
    for table in TABLES
)
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")


def remains(tables: Tables, ids: Mapping[str, str]) -> list[str]:
    """Return every row that there is, in words that are the same in every run."""
    names = _names(ids)
    found = []
    for row in tables.sql(EVERY_ROW):
        vague = TABLES[row["kind"]].split(", ")
        fields = {
            column: _vague(value) if column in vague else _words(value, names, row["now"])
            for column, value in row["fields"].items()
            if value is not None
        }
        found.append(f"{row['kind']}: {fields}")
    return sorted(found)


def answered(answer: Any, ids: Mapping[str, str], now: datetime) -> str:
    """Return a verb's answer, or its error, in words that are the same in every run."""
    names = _names(ids)
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {_words(str(answer), names, now)}"
    return str(_words(answer, names, now))


def _vague(value: Any) -> Any:
    return value if value is None else "there"


def _names(ids: Mapping[str, str]) -> dict[str, str]:
    return {id_: name for name, id_ in ids.items()} | {HOLDER["lock_token"]: "the token"}


def _words(value: Any, names: Mapping[str, str], now: datetime) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return _words(asdict(value), names, now)
    if isinstance(value, dict):
        pairs = (
            (str(_words(key, names, now)), _words(each, names, now)) for key, each in value.items()
        )
        return dict(sorted(pairs))
    if isinstance(value, list | tuple | set):
        words = [_words(each, names, now) for each in value]
        return sorted(words, key=str)  # their order is that of ids
    return _word(value, names, now)


def _word(value: Any, names: Mapping[str, str], now: datetime) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return "some seconds"
    text = value.isoformat() if isinstance(value, datetime) else str(value)
    if INSTANT.fullmatch(text):
        return "due" if datetime.fromisoformat(text) <= now else "in future"
    return UUID.sub(lambda id_: names.get(id_[0], "another id"), text)

"""Instants carry their zone: what is due does not depend on who looks from where."""

import pytest

DUE = "SELECT count(*) AS due FROM durable.workflow_executions WHERE scheduled_at <= durable.now()"
ZONELESS = (
    "SELECT table_name, column_name FROM information_schema.columns "
    "WHERE table_schema = %s AND data_type = 'timestamp without time zone'"
)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
def test_what_is_due_does_not_depend_on_the_sessions_zone(tables, zone):
    tables.add(due_in=3600)
    tables.add(due_in=-1)
    tables.sql(f"SET TimeZone = '{zone}'")
    try:
        assert tables.sql(DUE) == [{"due": 1}]
    finally:
        tables.sql("RESET TimeZone")


def test_no_column_holds_an_instant_without_its_zone(tables):
    assert tables.sql(ZONELESS, [tables.schema]) == []


def test_the_engines_own_sessions_are_in_utc(database):
    assert database.connection().execute("SHOW TimeZone").fetchone() == {"TimeZone": "UTC"}

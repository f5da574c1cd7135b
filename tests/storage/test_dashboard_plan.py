"""The plans of the dashboard's lists: a page reads a page, whatever it is narrowed by."""

import pytest
from psycopg.types.json import Jsonb

from durable_otp.dashboard.filters import asked
from durable_otp.storage import dashboard
from durable_otp.storage.dashboard import Facets
from durable_otp.storage.database import Database
from durable_otp.storage.reports import Filters
from durable_otp.workflow.state import FINAL
from tests.storage.test_claims_plan import explained
from tests.storage.test_lists_plan import PAGE, crowded
from tests.support.postgres import fresh_schema
from tests.support.tables import migrated_tables

__all__ = ["crowded"]

NOWHERE = {
    "living": True,
    "horizon": None,
    "horizon_inserted_at": None,
    "living_horizon": None,
    "living_horizon_inserted_at": None,
}
ALIVE = 6000

FACETS = [
    Facets(),
    Facets(Filters(top_level=True)),
    Facets(Filters(status="pending")),
    Facets(Filters(status="failed")),
    Facets(Filters(workflow="rare", top_level=True)),
    Facets(Filters(queue="rare")),
    Facets(Filters(queue="nobody's")),
    Facets(stuck_for=60.0),
]


@pytest.mark.parametrize("facets", FACETS, ids=str)
def test_a_page_reads_a_page(crowded, facets):
    parameters = {**(facets.parameters() or {}), **PAGE, **NOWHERE}
    plan, blocks = explained(crowded, "dashboard_executions", "force_custom_plan", **parameters)
    assert "Seq Scan" not in plan
    assert blocks < 400  # the table has thousands


def test_what_can_have_no_error_is_not_looked_at(crowded):
    facets = asked({"error": "KeyError"}).facets(None)  # type: ignore[arg-type]
    parameters = {**(facets.parameters() or {}), **PAGE, **NOWHERE}
    plan, blocks = explained(crowded, "dashboard_executions", "force_custom_plan", **parameters)
    assert "Seq Scan" not in plan
    assert blocks < 400


def test_a_count_goes_no_further_than_it_says(crowded):
    parameters = {**(Facets().parameters() or {}), "most": 1001, "window": 1001}
    _, blocks = explained(crowded, "dashboard_count", "force_custom_plan", **parameters)
    assert blocks < 400


def test_what_ends_a_minute_is_counted_among_the_newest_alone(crowded):
    given = {"seconds": 1e9, "most": 50, "statuses": sorted(FINAL)}
    plan, blocks = explained(crowded, "dashboard_queue_rates", "force_custom_plan", **given)
    assert "Seq Scan" not in plan
    assert blocks < 400


@pytest.fixture(scope="module")
def alive(postgres_dsn):
    """Many that live of one workflow, a page that has ended of another, one of a third."""
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        tables.sql(
            """INSERT INTO durable.workflow_executions
                   (id, workflow, version, status, queue, input, inserted_at, updated_at,
                    completed_at)
               SELECT gen_random_uuid(), kind, '1', status, 'q', jsonb_build_object('n', number),
                      now() - (number + age) * interval '1 s', now(),
                      CASE status WHEN 'completed' THEN now() END
               FROM (VALUES ('many', 'waiting', %(count)s, 300), ('ended', 'completed', 200, 0),
                            ('old', 'completed', 1, 5000), ('old', 'waiting', 1, 100000))
                        AS kinds (kind, status, count, age),
                    generate_series(1, kinds.count) AS number""",
            {"count": ALIVE},
        )
        tables.vacuum("workflow_executions")
        yield tables


@pytest.fixture
def ask(alive):
    """Run an operation on those executions."""
    database = Database(alive.dsn, alive.schema, role="test")
    yield database.run
    database.close()


def test_a_workflow_of_which_nothing_lives_is_found_whatever_else_lives(alive, ask):
    facets = Facets(Filters(workflow="ended", top_level=True))
    parameters = {**(facets.parameters() or {}), **PAGE, **NOWHERE}
    _, blocks = explained(alive, "dashboard_executions", "force_custom_plan", **parameters)
    assert blocks < 200  # of which 110 find the rows themselves; what lives is in 170 more
    found = ask(dashboard.page, facets, limit=50)
    assert ({row["workflow"] for row in found.rows}, found.among) == ({"ended"}, None)


def test_of_a_name_no_more_is_looked_at_than_a_page_says(ask, monkeypatch):
    facets = Facets(Filters(workflow="old"))
    whole = ask(dashboard.page, facets, limit=50)
    assert ([row["status"] for row in whole.rows], whole.among) == (["completed", "waiting"], None)
    assert ask(dashboard.count, facets) == (2, True)
    monkeypatch.setattr(dashboard, "MOST_SEARCHED", 1000)
    monkeypatch.setattr(dashboard, "MOST_LIVING_COUNTED", 1000)
    part = ask(dashboard.page, facets, limit=50)
    assert ([row["status"] for row in part.rows], part.among) == (["completed"], 1000)
    number, is_all = ask(dashboard.count, facets)
    assert number <= 2
    assert not is_all


@pytest.mark.parametrize("words", ["n=5990", '{"n": 5990}', '"n": 5990'])
def test_a_search_goes_through_all_in_parts_and_leaves_nothing_out(ask, words):
    facets = asked({"contains": words, "children": "1"}).facets(None)  # type: ignore[arg-type]
    assert facets.is_search
    rows, after, parts = [], None, 0
    while True:
        found = ask(dashboard.search, facets, limit=50, after=after, among=1000)
        rows += found.rows
        parts += 1
        after = found.after
        if after is None:
            break
        assert found.among == 1000
        assert found.about >= ALIVE
    assert [row["workflow"] for row in rows] == ["many"]
    assert parts == 7  # 6,202 executions, a thousand at a time


def test_queues_say_how_many_end_a_minute(ask):
    exact, sampled = ask(dashboard.queue_rates, 1e6, 1000), ask(dashboard.queue_rates, 1e6, 10)
    assert exact["q"] == pytest.approx(201 * 60 / 1e6)
    assert sampled["q"] > exact["q"]  # all ended at once, and lately
    assert ask(dashboard.queue_rates, 0.0, 1000) == {}


def test_a_search_among_what_lives_counts_what_lives(ask):
    facets = asked({"stuck": "24h", "children": "1"}).facets(None)  # type: ignore[arg-type]
    found = ask(dashboard.search, facets, limit=50, among=6000)
    assert (found.rows, found.among) == ([], 6000)
    assert ask(dashboard.search, facets, limit=50, among=7000).after is None


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("given=1", True),
        ("first=2", True),
        ('{"first": 2, "given": 1}', True),
        ("deep.in=5", True),
        ("SNAPPED", True),
        ("snapped=7", True),
        ('"in": 5', True),
        ("first=3", False),
        ("given=1 first=9", False),
        ("never said", False),
    ],
)
def test_what_a_context_had_is_found_in_its_input_in_steps_and_in_snapshots(
    tables, database, words, found
):
    mine, other = tables.add("completed", input={"given": 1}), tables.add("completed")
    tables.add_step(mine, 1, changes=[["set", "first", 2], ["set", "deep", {"in": 5, "also": 6}]])
    tables.add_step(mine, 2, changes=[["set", "first", 4]], snapshot={"snapped": 7})
    tables.add_step(other, 1, changes=[["set", "else", 1]])
    facets = asked({"context": words}).facets(None)  # type: ignore[arg-type]
    assert facets.is_search
    rows = database.run(dashboard.search, facets, limit=50).rows
    assert [row["id"] for row in rows] == ([mine] if found else [])


def test_the_codecs_of_inputs_are_known(tables, database):
    plain = ({"$codec": "plain", "encoded": "e30="}, {"$codec": "x"}, ["$codec"], 7)
    for value in plain:
        tables.add(input=value if isinstance(value, dict | list) else Jsonb(value))
    assert database.run(dashboard.encoded) == []
    tables.add(input={"$codec": "veil", "encoded": "e30="})
    assert database.run(dashboard.encoded) == ["veil"]

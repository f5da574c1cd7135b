"""What the command line and the dashboard show of encoded payloads, with the codec and without."""

import json
from collections.abc import Iterator

import pytest

from durable_otp import Durable, Workflow
from durable_otp.storage.database import Database
from tests.support.codecs import veil
from tests.support.command_line_here import Done, command_here
from tests.support.dashboard import Site, served
from tests.support.postgres import fresh_schema
from tests.support.tables import Tables, migrated_tables
from tests.support.waits import asking, waiting

SECRET = "s3cr3t-marker"
CODEC = "tests.support.codecs:veil"
HIDDEN = "<encoded by veil-1: no codec here>"

order = Workflow("order")
order.step(name="only")(lambda ctx: None)


@pytest.fixture(scope="module")
def tables(postgres_dsn: str) -> Iterator[Tables]:
    with fresh_schema(postgres_dsn) as schema, migrated_tables(postgres_dsn, schema) as tables:
        yield tables


@pytest.fixture(scope="module")
def durable(tables: Tables) -> Iterator[Durable]:
    with Durable(tables.dsn, schema=tables.schema, codec=veil) as durable:
        yield durable


@pytest.fixture(scope="module")
def started(durable: Durable) -> str:
    handle = durable.start(order, {"m": SECRET})
    handle.send_event("paid", SECRET)
    return handle.id


@pytest.fixture(scope="module")
def site(tables: Tables, started: str) -> Iterator[Site]:
    with served(tables.dsn, tables.schema) as site:
        yield site


def run(tables: Tables, *words: str) -> Done:
    return command_here([*words, "--dsn", tables.dsn, "--schema", tables.schema])


def test_an_execution_is_shown_with_the_codec_and_as_encoded_without(tables, started):
    without = run(tables, "inspect", started)
    with_it = run(tables, "inspect", started, "--codec", CODEC)
    listed = json.loads(run(tables, "list", "--json").output)

    assert (without.code, with_it.code) == (0, 0)
    assert HIDDEN in without.output
    assert SECRET not in without.output
    assert SECRET in with_it.output
    (shown,) = (each for each in listed if each["id"] == started)
    assert shown["input"] == HIDDEN


@pytest.mark.parametrize(
    ("codec", "sentence"),
    [
        ("tests.support.nowhere:codec", "cannot be found"),
        ("tests.support.codecs:missing", "cannot be found"),
        ("tests.support.codecs:no_codec", "is no codec"),
        ("nonsense", 'must be "module:attribute"'),
    ],
)
def test_a_codec_that_is_none_is_one_sentence(tables, codec, sentence):
    done = run(tables, "list", "--codec", codec)

    assert done.code == 2
    assert sentence in done.errors
    assert done.errors.count("\n") == 1


def test_what_the_command_line_sends_is_encoded_with_the_codec(tables, durable, started):
    run(tables, "run", "order", "--input", json.dumps({"m": SECRET}), "--codec", CODEC)

    (newest,) = durable.list_executions(limit=1)
    assert newest.id != started
    assert newest.input == {"m": SECRET}
    assert SECRET not in str(tables.sql("SELECT input::text FROM durable.workflow_executions"))


def test_a_question_is_not_answered_by_whoever_cannot_read_it(tables, durable):
    database = Database(tables.dsn, tables.schema, role="test", codecs=durable._database._codecs)
    asked = asking("which", "choice", prompt=SECRET, choices=[SECRET, "no"])
    id_ = waiting(database, tables, asked)
    database.close()

    shown = json.loads(run(tables, "pending", id_, "--json").output)["inputs"][0]
    refused = run(tables, "input", id_, "which", SECRET)
    assert (shown["prompt"], shown["choices"]) == (HIDDEN, None)
    assert (refused.code, HIDDEN in refused.errors) == (1, True)
    assert durable.list_pending_inputs(id_)[0].choices == [SECRET, "no"]
    assert run(tables, "input", id_, "which", SECRET, "--codec", CODEC).code == 0


def test_a_schedule_is_moved_but_not_triggered_without_the_codec(tables, durable, site):
    durable.create_schedule("nightly", "order", "0 3 * * *", input={"m": SECRET})

    assert run(tables, "schedules", "disable", "nightly").code == 0
    assert run(tables, "schedules", "enable", "nightly").code == 0
    refused = run(tables, "schedules", "trigger", "nightly")
    assert (refused.code, HIDDEN in refused.errors) == (1, True)
    form = {"workflow": "order", "cron": "0 4 * * *", "timezone": "UTC", "queue": "",
            "catch_up": "one", "overlap": "allow", "jitter": "0"}  # fmt: skip
    assert HIDDEN.removeprefix("<").removesuffix(">") in site.page("/schedules/nightly/edit")
    site.do("/schedules/nightly/edit", input=json.dumps(HIDDEN), **form)
    changed = durable.get_schedule("nightly")
    assert (changed.cron, changed.input) == ("0 4 * * *", {"m": SECRET})
    durable.delete_schedule("nightly")


@pytest.mark.parametrize("tab", ["", "/flow", "/timeline", "/logs", "/data", "/history", "/events"])
def test_every_page_of_an_encoded_execution_opens(site, started, tab):
    text = site.page(f"/executions/{started}{tab}")

    assert SECRET not in text
    if tab == "/data":
        assert "encoded by veil-1: no codec here" in text


def test_the_dashboard_shows_what_it_has_the_codec_for(tables, started):
    with served(tables.dsn, tables.schema, codecs=(CODEC,)) as site:
        assert SECRET in site.page(f"/executions/{started}/data")

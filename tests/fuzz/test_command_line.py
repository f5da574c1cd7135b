"""Whatever words the program is given, it ends with a documented code and says why in a line.

The words are verbs, options and arguments that there are, with right and wrong values between them.
Verbs that start processes or wait for ever are left to other tests.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from durable_otp import Durable, Workflow, wait_for_event, wait_for_text
from tests.support.command_line_here import Done, command_here
from tests.support.entry_points import Bench, run
from tests.support.examples import examples
from tests.support.postgres import fresh_database
from tests.support.tables import Tables, migrated_tables

USAGE = 2
DOCUMENTED = {0, 1, 2, 3, 4, 5}
A_CLASS_BY_ITS_NAME = re.compile(r"^[A-Z]\w*: ")
OPTIONS = {
    "check": (),
    "migrate": ("--check", "--to"),
    "status": (),
    "tree": (),
    "run": ("--input", "--json-file", "--queue", "--priority", "--idempotency-key", "--timeout"),
    "list": ("--workflow", "--status", "--queue", "--parent", "--since", "--until", "--top-level",
             "--oldest", "--limit", "--after"),
    "inspect": (),
    "cancel": ("--reason",),
    "retry": (),
    "pending": ("--limit",),
    "input": ("--json-file",),
    "event": ("--json-file",),
    "queues": ("--node", "--timeout"),
    "schedules": ("--input", "--json-file"),
    "cleanup": ("--older-than", "--status", "--dry-run"),
    "start": (),
}  # fmt: skip
TAKES_NOTHING = {"--json", "--check", "--dry-run", "--top-level", "--oldest"}
WORDS = (
    "", " ", "-", "--", "---", "-x", "--nope", "--help", "--version", "0", "-1", "1", "99999999999",
    "1e3", "nan", "{}", "[", '{"a": 1}', "null", '"x"', "[" * 3_000, "\ud800", "\udcff", "a\nb",
    "%s", "'", '"', ";", "completed", "failed", "running", "5m", "30d", "2026-01-31", "x" * 300,
    "9999-12-31T23:00-12:00", "0001-01-01T00:00+14:00", "99999999999d", "default", "waiting", "a:b",
    "os:system", "abcd", "00000000-0000-4000-8000-000000000000", "pause", "resume", "scale",
    "enable", "disable", "trigger", "go", "ask", "/", "/nonexistent", ".", "🙂", "s", "x",
)  # fmt: skip
words = st.one_of(
    st.sampled_from(WORDS), st.text(st.characters(exclude_characters="\0"), max_size=6)
)


class Place:
    """A database with something of everything in it, and the words that name what is there."""

    def __init__(self, tables: Tables, directory: Path) -> None:
        self.tables = tables
        bench = Bench(tables)
        waiting = Workflow("waiting")
        waiting.step(name="a")(lambda: wait_for_event("go"))
        asking = Workflow("asking")
        asking.step(name="a")(lambda: wait_for_text("ask"))
        failing = Workflow("failing")
        failing.step(name="a")(lambda: 1 // 0)
        self.ids = [run(bench, each) for each in (waiting, asking, failing)]
        self.ids.append(bench.client.start(waiting).id)
        bench.client.create_schedule("s", waiting, "0 0 * * *")
        bench.close()
        self.file = directory / "data.json"
        self.file.write_text('{"a": [1, 2]}')
        self.config = directory / "config.toml"
        self.config.write_text(
            f'[durable]\ndsn = "{Durable(tables.dsn).dsn}"\nschema = "{tables.schema}"\n'
        )

    def ask(self, given: list[str]) -> Done:
        """Run a command on this database."""
        return command_here(given, {"DURABLE_DSN": self.tables.dsn, "COLUMNS": "500"})


@pytest.fixture(scope="module")
def place(postgres_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("place")
    with fresh_database(postgres_dsn) as dsn, migrated_tables(dsn, "durable") as tables:
        yield Place(tables, directory)


@st.composite
def commands(draw: st.DrawFn) -> list[str]:
    """Return the words of a command; ``@n`` stands for the id of an execution, or a file."""
    verb = draw(st.sampled_from([*OPTIONS, *OPTIONS, draw(words)]))
    given_ = []
    for _ in range(draw(st.integers(0, 4))):
        options = (*OPTIONS.get(verb, ()), "--schema", "--config", "--dsn", "--json")
        kind = draw(st.integers(0, 3))
        if kind == 0:
            option = draw(st.sampled_from(options))
            given_.append(option)
            if option not in TAKES_NOTHING:
                given_.append(draw(values_of(option)))
        elif kind == 1:
            given_.append(draw(st.sampled_from(["@0", "@1", "@2", "@3", "@3", "@file"])))
        else:
            given_.append(draw(words))
    return [verb, *given_]


def values_of(option: str) -> st.SearchStrategy[str]:
    """Return values of an option; never a server that could be waited for."""
    if option == "--dsn":
        return st.sampled_from(["", "x", "postgresql://", "%", "host=127.0.0.1 port=1", "\ud800"])
    if option == "--config":
        return st.sampled_from(["@config", "@file", "/nonexistent", "", ".", "\ud800"])
    if option == "--schema":
        return st.sampled_from(["durable", "other", "", "A", "x" * 60, "\ud800", "select"])
    return st.one_of(words, st.sampled_from(["@file", "@0"]))


@examples(60, 10_000)
@given(commands())
@example(["list", "--since", "9999-12-31T23:00-12:00"])
@example(["cleanup", "--older-than", "0001-01-01T00:00+14:00", "--dry-run"])
@example(["run", "waiting", "--input", "[" * 3_000])
@example(["event", "@0", "go", "\udcff"])
@example(["list", "--limit", "99999999999999999999"])
@example(["migrate", "--to", "99999999999999999999"])
@example(["input", "@1", "ask", '"x"'])
@example(["status", "--schema", "other"])
@example(["run", "os:system"])
def test_any_command_ends_as_documented(place: Place, command: list[str]) -> None:
    named = {"@file": str(place.file), "@config": str(place.config)}
    named |= {f"@{number}": id_ for number, id_ in enumerate(place.ids)}
    given_ = [named.get(word, word) for word in command]
    if "migrate" in given_ or ("run" in given_ and "--wait" in given_):
        given_ += ["--check"]  # what is there stays
    done = place.ask(given_)
    assert done.code in DOCUMENTED
    assert "Traceback" not in done.errors
    if done.code == 0:
        return
    assert done.errors.strip()
    if done.errors.startswith("Usage:"):
        assert done.code == USAGE
    elif "--check" not in given_:
        assert done.errors.count("\n") == 1, done.errors
        assert done.errors.strip().isprintable()
        assert not A_CLASS_BY_ITS_NAME.match(done.errors), done.errors

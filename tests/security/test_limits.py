"""S-8, S-13: nothing grows without bound, and no text of a user's forges a line of a log."""

import io
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from durable_otp import (
    Context,
    DefinitionError,
    Durable,
    DurableError,
    ScheduleError,
    SerializationError,
    Workflow,
    wait_for_text,
)
from durable_otp.cli.failures import sentence
from durable_otp.cli.screen import one_line
from durable_otp.events import emit, log_to_stderr, logger
from durable_otp.runtime.output import OutputFile
from tests.support.postgres import fresh_schema
from tests.support.tree import STILL, Tree, running, still_queue
from tests.support.waiting import wait_until

MAX_LOG = 10_000
noisy = Workflow("noisy")


@noisy.step
def shout(ctx: Context) -> None:
    """Print far more than is kept, then wait until its memory has been given back."""
    line = b"a line that nobody will read\n" * 1000
    for _ in range(300):
        os.write(1, line)
    used = lambda: os.fstat(1).st_blocks * 512  # noqa: E731 - of this file, in memory
    assert used() > 1_000_000
    wait_until(lambda: used() < 1_000_000, what="the memory")
    os.write(1, b"the last line\n")


@noisy.step
def scream(ctx: Context) -> None:
    """One endless line."""
    os.write(2, b"a" * 5_000_000)


large = Workflow("large")


@large.step
def give(ctx: Context) -> Any:
    return {"value": "x" * ctx.input["size"]}


asks = Workflow("asks")


@asks.step
def ask(ctx: Context) -> Any:
    return {"answer": wait_for_text("words")}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(
            postgres_dsn, schema, noisy, large, asks,
            queues={"default": still_queue(2)}, **STILL, max_log=MAX_LOG, max_payload="100KB",
        ) as tree,
    ):  # fmt: skip
        yield tree


def test_what_a_step_prints_takes_no_more_memory_than_is_kept_of_it(tree: Tree) -> None:
    """S-8: it is neither held up nor does it fill the machine, and the end of it is stored."""
    handle = tree.durable.start(noisy, {})
    handle.result(timeout=60)
    shouted, screamed = handle.execution().steps
    assert shouted.logs[-1]["message"] == "the last line"
    assert "left out" in shouted.logs[0]["message"]
    left_out = int(shouted.logs[0]["message"].split()[1])
    assert 8_700_000 - MAX_LOG <= left_out <= 8_700_000
    assert not [each for each in shouted.logs if "\ufffd" in each["message"]]
    for step in (shouted, screamed):
        assert len(json.dumps(step.logs)) < 10 * MAX_LOG


def test_trimming_keeps_what_is_stored() -> None:
    output = OutputFile("test")
    try:
        os.write(output.descriptor, b"".join(b"line %d\n" % n for n in range(400_000)))
        before = output.entries(1000)
        output.trim(1000)
        assert os.fstat(output.descriptor).st_blocks * 512 < 100_000
        assert output.entries(1000) == before
        assert before[-1]["message"] == "line 399999"
    finally:
        output.close()


DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
TOO_MUCH = [DEEP, "x" * 3_000_000, {"k" * 3_000_000: 1}, 10**5000, "\0", "\ud800", float("nan")]


@pytest.mark.parametrize("value", TOO_MUCH, ids=range(len(TOO_MUCH)))
def test_too_much_or_too_deep_is_refused_before_a_row_is_written(tree: Tree, value: Any) -> None:
    """S-8: by every way in, with a sentence, and without a trace."""
    with Durable(tree.dsn, schema=tree.schema) as durable:
        kept = durable.start(asks, {}, queue="elsewhere")
        before = durable.count_executions()
        for attempt in (
            lambda: durable.start(asks, {"value": value}),
            lambda: durable.start_many(asks, [{}, {"value": value}]),
            lambda: durable.send_event(kept.id, "event", value),
            lambda: durable.create_schedule("s", "asks", "0 0 * * *", input={"value": value}),
        ):
            with pytest.raises(SerializationError) as refusal:
                attempt()
            assert len(str(refusal.value)) < 1000
        assert durable.count_executions() == before
        assert durable.list_events(kept.id) == []
        assert durable.list_schedules() == []


def test_a_step_s_own_value_is_held_to_the_same(tree: Tree) -> None:
    fits = tree.durable.start(large, {"size": 50_000})
    assert len(fits.result(timeout=30)["value"]) == 50_000
    failed = tree.until(tree.durable.start(large, {"size": 200_000}), "failed")
    assert failed.error["type"] == "serialization_error"
    assert len(failed.error["message"]) < 1000


@pytest.mark.parametrize(
    "cron",
    ["*" * 100_000, "0 " * 50_000, "*/1," * 50_000 + "* * * * *", "0-59/" * 9999, "((((a+)+)+)+)$"],
    ids=range(5),
)
def test_a_schedule_that_is_too_much_is_refused_at_once(tree: Tree, cron: str) -> None:
    """S-8: in a sentence that does not repeat it."""
    with pytest.raises(ScheduleError) as refusal:
        tree.durable.create_schedule("much", "asks", cron)
    assert len(str(refusal.value)) < 1000


# S-13: logs

UGLY = st.text(
    alphabet=st.one_of(st.characters(), st.sampled_from("\n\r\x1b\x1e\0\x85\u2028\u202e\ud800")),
    max_size=80,
)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    kept = (logger.handlers[:], logger.level, logger.propagate)
    yield io.StringIO()
    logger.handlers[:], logger.level, logger.propagate = kept


def lines_of(log_format: str, name: str, value: str) -> str:
    stream = io.StringIO()
    log_to_stderr(log_format, process="p")
    logger.handlers[0].setStream(stream)  # type: ignore[attr-defined]
    emit("thing_happened", first=value, second=name)
    return stream.getvalue()


@pytest.mark.usefixtures("log")
def test_no_text_begins_a_line_of_its_own_or_commands_a_terminal() -> None:
    """S-13: one event is one line, whatever its facts hold."""

    @given(UGLY, UGLY)
    def check(name: str, value: str) -> None:
        text = lines_of("text", name, value)
        assert text.endswith("\n")
        assert text[:-1].isprintable()
        told = json.loads(lines_of("json", name, value))
        assert (told["event"], told["first"], told["second"]) == ("thing_happened", value, name)
        assert lines_of("json", name, value).count("\n") == 1

    check()


@given(UGLY)
def test_the_command_line_prints_no_control_characters(text: str) -> None:
    """S-13: nor in its errors."""
    assert one_line(text).isprintable()
    assert sentence(DurableError(text)).isprintable()


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2J", "", "a\0", "\u202eexe"])
def test_what_is_shown_in_titles_and_logs_has_printable_names(name: str) -> None:
    """S-13: workflows and steps, which are parts of process titles."""
    with pytest.raises(DefinitionError):
        Workflow(name)
    workflow = Workflow("fine")
    with pytest.raises(DefinitionError):
        workflow.step(name=name)(lambda ctx: None)

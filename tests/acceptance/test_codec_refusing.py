"""A codec that never encodes what a step gives: the step fails, and nothing of it is shown."""

from typing import Any

import pytest

from durable_otp import Context, Retry, Workflow
from tests.support.codecs import Picky, readable
from tests.support.postgres import fresh_schema
from tests.support.tree import running

SECRET = "s3cr3t-marker"
AT_ONCE = Retry(max_attempts=2, backoff="constant", base=0, jitter=0)

odd = Workflow("odd")


@odd.step(compensate="unsay", retry=AT_ONCE)
def fine(ctx: Context) -> Any:
    return {"in": SECRET if ctx.input == "first" else "plain"}


@odd.step(retry=AT_ONCE)
def not_fine(ctx: Context) -> Any:
    print("a line")
    print(SECRET)
    if ctx.input == "raises":
        raise RuntimeError(SECRET)
    return {"out": SECRET}


@odd.compensate(retry=AT_ONCE)
def unsay(ctx: Context) -> Any:
    return {"undone": SECRET}


@pytest.mark.slow
def test_what_a_codec_never_encodes_fails_the_step_and_shows_nothing(postgres_dsn: str):
    refused = {
        "type": "CodecError",
        "message": "Codec 'picky' cannot encode a value (ValueError).",
        "stacktrace": None,
        "codec": "picky",
    }
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, odd, queues={"default": 3}, codec=Picky(SECRET)) as tree,
    ):
        handles = {name: tree.durable.start(odd, name) for name in ("first", "second", "raises")}
        ended = {
            name: tree.until(handle, "failed", "compensation_failed", timeout=60)
            for name, handle in handles.items()
        }
        statuses = {name: str(execution.status) for name, execution in ended.items()}
        assert statuses == {
            "first": "failed", "second": "compensation_failed", "raises": "compensation_failed",
        }  # fmt: skip
        for execution in ended.values():
            assert execution.error == refused
            assert execution.crashes == execution.interruptions == 0
        rows = {
            name: [(step.name, step.attempt, str(step.status)) for step in execution.steps]
            for name, execution in ended.items()
        }
        assert rows["first"] == [("fine", 1, "failed")]
        for name in ("second", "raises"):
            assert rows[name] == [
                ("fine", 1, "completed"), ("not_fine", 1, "failed"), ("unsay", 1, "failed"),
            ]  # fmt: skip
            _, failed, handler = ended[name].steps
            assert failed.error == handler.error == refused
            assert [line["message"] for line in failed.logs] == [
                "a line", "<this line could not be encoded, so it was not kept>",
            ]  # fmt: skip
            (result,) = ended[name].compensation_results
            assert result["error"] == refused
        assert readable(tree, SECRET) == []

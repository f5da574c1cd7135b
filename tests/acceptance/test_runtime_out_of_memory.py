"""A worker that the kernel kills for lack of memory is told from one that somebody killed."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Workflow
from tests.support.tree import running
from tests.support.waiting import wait_until

LIMIT = 96 * 1024**2
hungry = Workflow("hungry", max_crashes=1)


@hungry.step
def eat(ctx: Any) -> None:
    (Path(ctx.input) / "cgroup.procs").write_text(str(os.getpid()))
    eaten = []
    while True:
        eaten.append(bytearray(1024**2))


@pytest.fixture
def small() -> Iterator[Path]:
    """A memory cgroup that kills whoever takes more than it has."""
    for parent, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = parent / f"durable-otp-test-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            if (group / limit).exists():
                (group / limit).write_text(str(LIMIT))
                break
            group.rmdir()
    else:
        pytest.skip("this machine lets nobody make a memory cgroup")
    yield group

    def is_gone() -> bool:
        with suppress(OSError):
            group.rmdir()
        return not group.exists()

    wait_until(is_gone, what="the cgroup to be empty")


def test_the_error_names_the_lack_of_memory(dsn: str, schema: str, small: Path) -> None:
    with running(dsn, schema, hungry, queues={"default": 1}) as tree:
        execution = tree.until(tree.durable.start(hungry, str(small)), "failed", timeout=60)
    assert execution.error["type"] == "worker_crashed"
    assert execution.error["signal"] == "SIGKILL"
    assert execution.error["out_of_memory"] is True
    assert "out of memory" in execution.error["message"]

"""The root of `durable-otp start`: what it is told, and what it has imported before it forks."""

import subprocess
import sys
from pathlib import Path

import pytest

from durable_otp.config import Config
from durable_otp.otp.cargo import Cargo, pack
from durable_otp.runtime import tree
from durable_otp.runtime.node import NodeHooks
from durable_otp.runtime.root_program import Orders, main

DESCRIPTORS = Path("/proc/self/fd")
UNPACK = """
import sys
from durable_otp.otp import boot
from durable_otp.otp.cargo import unpack
from durable_otp.runtime import root_program

cargo = unpack(sys.stdin.buffer.read())
cargo.hooks.before_children(None)
for name in ("pydantic", "typer", "rich", "psutil", "durable_otp.config"):
    print(name, name in sys.modules)

from durable_otp.storage.statements import numbered

read = numbered.cache_info().misses
numbered("shop")
print("statements read again", numbered.cache_info().misses > read)
"""


def packed() -> bytes:
    spec = tree.root(Config(), "postgresql:///shop", "node-1", ("shop.workflows",))
    return pack(Cargo(spec, NodeHooks("node-1", "shop")))


def test_a_root_imports_what_its_children_need_and_nothing_that_only_the_command_does() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", UNPACK], input=packed(), capture_output=True, check=True
    )
    answers = dict(line.rsplit(" ", 1) for line in ran.stdout.decode().splitlines())
    assert answers.pop("statements read again") == "False"
    assert answers
    assert set(answers.values()) == {"False"}


@pytest.mark.parametrize("server", [None, "/srv/project/.durable-otp"])
def test_orders_are_read_as_they_were_written(server: str | None) -> None:
    orders = Orders(b"\0 any bytes \xff" * 100_000, ["/srv/project"], 7, server)
    assert Orders.read(orders.written()) == orders


def test_the_file_of_the_orders_is_closed_once_it_was_read() -> None:
    orders = Orders(b"", [], None, None)
    before = set(DESCRIPTORS.iterdir())
    Orders.read(orders.written())
    assert set(DESCRIPTORS.iterdir()) == before


def test_without_orders_it_says_what_to_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DURABLE_OTP_FOREGROUND", raising=False)
    assert main() == 2
    assert "run `durable-otp start CONFIG`" in capsys.readouterr().err

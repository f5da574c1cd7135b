"""S-7, S-10, S-11, S-12: what the tree shows to the network, to programs and to other users."""

import contextlib
import hashlib
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg import conninfo

import durable_otp
from durable_otp import Context, Workflow
from durable_otp.storage import embedded
from tests.support.postgres import fresh_schema
from tests.support.tree import STILL, Tree, running, still_queue

ROOT = Path(__file__).parents[2]
starts = Workflow("starts")
SHOW = """
import json, os
found = {}
for name in os.listdir("/proc/self/fd"):
    try:
        found[name] = os.readlink("/proc/self/fd/" + name)
    except OSError:
        pass  # the listing's own
print(json.dumps(found))
"""


def descriptors(pid: int | str) -> dict[str, str]:
    """Return what each descriptor of a process is."""
    found = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # the listing's own
            found[path.name] = str(path.readlink())
    return found


@starts.step
def programs(ctx: Context) -> Any:
    """Start programs as carelessly as can be: every inheritable descriptor is passed on."""
    command = [sys.executable, "-c", SHOW]
    run = subprocess.run(command, close_fds=False, stdout=subprocess.PIPE, check=True)
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    pid = os.posix_spawn(
        sys.executable, command, dict(os.environ), file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)]
    )
    os.close(writer)
    with os.fdopen(reader) as pipe:
        spawned = pipe.read()
    os.waitpid(pid, 0)
    own = {name: target for name, target in descriptors("self").items() if target}
    return {"run": json.loads(run.stdout), "spawned": json.loads(spawned), "own": own}


@pytest.fixture(scope="module")
def tree(postgres_dsn: str) -> Iterator[Tree]:
    with (
        fresh_schema(postgres_dsn) as schema,
        running(postgres_dsn, schema, starts, queues={"default": still_queue(2)}, **STILL) as tree,
    ):
        yield tree


def test_nothing_listens_on_any_port(tree: Tree) -> None:
    """S-7: there is no dashboard, no health page and no control port unless one is configured."""
    for pid in tree.pids():
        sockets = psutil.Process(pid).net_connections(kind="all")
        listening = [each for each in sockets if each.status == psutil.CONN_LISTEN]
        assert listening == []
        named = [each for each in sockets if isinstance(each.laddr, str) and each.laddr]
        assert [each.laddr for each in named if not each.raddr] == []


def test_a_program_that_a_step_starts_gets_no_descriptor_of_the_tree(tree: Tree) -> None:
    """S-10: neither the database's socket nor a link, a lifeline or another worker's output."""
    result = tree.durable.start(starts, {}).result(timeout=60)
    sockets = [target for target in result["own"].values() if target.startswith("socket:")]
    assert sockets  # the worker has its link and its database
    for how in ("run", "spawned"):
        kept = {name: target for name, target in result[how].items() if name not in "012"}
        tree_s = [t for t in kept.values() if t.startswith(("socket:", "/memfd:", "anon_inode:"))]
        assert tree_s == [], (how, kept)
        assert not result[how]["2"].startswith("socket:")


def test_no_socket_of_the_database_has_two_owners(tree: Tree) -> None:
    """S-10: forked siblings close what they inherit."""
    tree.durable.start(starts, {}).result(timeout=60)
    owners: dict[str, list[int]] = {}
    for pid in tree.pids():
        for target in descriptors(pid).values():
            if target.startswith("socket:"):
                owners.setdefault(target, []).append(pid)
    assert len(owners) > len(tree.pids())
    assert {name: pids for name, pids in owners.items() if len(set(pids)) > 1} == {}


def test_what_a_private_server_keeps_is_its_owner_s_alone(tmp_path: Path) -> None:
    """S-11: its data, its locks and records, and the directory of its socket."""
    place = tmp_path / "postgres"
    server = embedded.acquire(place, mode="test")
    try:
        sockets = Path(str(conninfo.conninfo_to_dict(server.dsn)["host"]))
        for directory in (place, sockets):
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        for path in (each for each in place.rglob("*") if each.is_file() and not each.is_symlink()):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path
    finally:
        server.release()
        embedded.reset(place, force=True)


def test_importing_opens_no_connection_and_starts_nothing() -> None:
    """S-12: every module of the package, in a process that is told of each socket and program."""
    program = """
import importlib, pkgutil, sys
seen = []
def watch(event, arguments):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.bind", "subprocess.Popen",
                         "os.system", "os.exec", "os.posix_spawn", "os.fork", "urllib.")):
        seen.append(event)
sys.addaudithook(watch)
import durable_otp
for found in pkgutil.walk_packages(durable_otp.__path__, "durable_otp."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
for name in durable_otp.__all__:
    getattr(durable_otp, name)
print(len(sys.modules), seen)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip().endswith("[]"), done.stdout


def test_a_source_distribution_is_the_same_whenever_and_wherever_it_is_built(
    tmp_path: Path,
) -> None:
    """S-12: two builds, at two times, are one file to the byte."""
    digests = set()
    for number in (1, 2):
        place = tmp_path / str(number)
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(place)],
            cwd=ROOT, check=True, capture_output=True, timeout=100,
            env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000", "TZ": f"UTC{number}"},
        )  # fmt: skip
        (built,) = place.iterdir()
        assert durable_otp.__version__ in built.name
        digests.add(hashlib.sha256(built.read_bytes()).hexdigest())
    assert len(digests) == 1

"""Run the sessions that README and the failure guide show, and write them there.

``python -m docs.record`` runs them all on a private PostgreSQL (about two minutes); with names,
only those. The lines between the marks of a session are what was typed and printed; of paths only
the ends are kept.
"""

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from docs.generate import DOCS
from docs.stage import Stage
from docs.terminal import picture
from durable_otp.storage import embedded

README = DOCS.parent / "README.md"
GUIDE = DOCS / "failures.md"
PICTURE = DOCS / "pictures" / "kill-9.svg"
SESSION = "<!-- session: {name} -->"
END = "<!-- session: end -->"
ONE_QUEUE = "[queues.default]\nconcurrency = 2\n"
IN_HASTE = f'{ONE_QUEUE}[supervisor]\nshutdown_timeout = "1s"\n'


def workflows() -> str:
    """Return the workflows of the failure guide, as its first block of Python has them."""
    found = re.search(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    if found is None:
        raise ValueError("docs/failures.md has lost its block of Python.")
    return found[1]


def killed(stage: Stage) -> None:
    """Kill a worker in the middle of a step."""
    stage.show("$ durable-otp start shop.toml &")
    order = stage.type("run", "order", "--input", '{"trouble": "waits"}')
    pid = stage.worker(order)
    stage.type("tree", lines=lambda line: "queue" in line or "worker" in line or "Process" in line)
    stage.kill(pid)
    stage.worker(order, but=pid)
    _pay(stage, order)
    stage.type("inspect", order)


def _pay(stage: Stage, order: str) -> None:
    """Let the charge that waits go through, and wait for the end of its order."""
    (stage.directory / "paid").touch()
    stage.until(lambda: stage.durable.get_execution(order).completed_at, "the end")
    (stage.directory / "paid").unlink()


def troubled(trouble: str) -> Callable[[Stage], None]:
    """Return the session of an order that brings its own trouble."""

    def session(stage: Stage) -> None:
        order = stage.type("run", "order", "--input", json.dumps({"trouble": trouble}))
        stage.until(lambda: stage.durable.get_execution(order).completed_at, "the end")
        stage.type("inspect", order)

    return session


def hung(stage: Stage) -> None:
    """Run a step that never returns into its timeout."""
    report = stage.type("run", "report")
    stage.until(lambda: stage.durable.get_execution(report).completed_at, "the end")
    stage.type("inspect", report)


def manager_killed(stage: Stage) -> None:
    """Kill the manager of a queue."""
    order = stage.type("run", "order", "--input", '{"trouble": "waits"}')
    worker = stage.worker(order)
    (node,) = stage.durable.nodes()
    (manager,) = (each.pid for each in node.processes if each.role == "queue_manager")
    stage.kill(manager)
    stage.worker(order, but=worker)
    _pay(stage, order)
    stage.type("inspect", order)


def stopped(stage: Stage, root: int) -> str:
    """Stop a node while a step runs that takes longer than it is given; return the order."""
    order = stage.type("run", "order", "--input", '{"trouble": "waits"}')
    stage.worker(order)
    os.kill(root, signal.SIGTERM)
    stage.show(f"$ kill -TERM {root}   # the root; `systemctl stop` does the same")
    stage.until(lambda: stage.durable.get_execution(order).status == "pending", "its release")
    stage.type("inspect", order)
    return order


SHORT: dict[str, Callable[[Stage], None]] = {
    "kill": killed,
    "segfault": troubled("segfault"),
    "exit": troubled("os._exit"),
    "sys.exit": troubled("sys.exit"),
    "poison": troubled("always segfault"),
    "timeout": hung,
    "manager": manager_killed,
}


def short(stage: Stage, names: list[str]) -> dict[str, str]:
    """Run sessions that need one node and no waiting; return what each shows."""
    told = {}
    with stage.node(ONE_QUEUE):
        for name in names:
            stage.shown.clear()
            SHORT[name](stage)
            told[name] = "\n".join(stage.shown)
    return told


def deploy(stage: Stage, _: Path) -> None:
    """Stop a node in the middle of a step, and start its successor."""
    with stage.node(IN_HASTE) as root:
        order = stopped(stage, root.pid)
        root.wait()
    with stage.node(ONE_QUEUE):
        stage.show("$ durable-otp start shop.toml &")
        stage.worker(order)
        _pay(stage, order)
        stage.type("inspect", order)


def node_dies(stage: Stage, _: Path) -> None:
    """Kill the root of the node that runs an order; another node takes it over."""
    with stage.node(ONE_QUEUE, "first") as first:
        order = stage.type("run", "order", "--input", '{"trouble": "waits"}')
        worker = stage.worker(order)
        with stage.node(ONE_QUEUE, "second"):
            stage.show("$ durable-otp start second.toml &")
            stage.kill(first.pid)
            stage.worker(order, but=worker)
            _pay(stage, order)
            stage.type("inspect", order)


def database_restarts(stage: Stage, server: Path) -> None:
    """Stop PostgreSQL at once in the middle of a step, and start it again."""
    with stage.node(ONE_QUEUE):
        order = stage.type("run", "order", "--input", '{"trouble": "waits"}')
        stage.worker(order)
        embedded.stop(server, force=True)
        (stage.directory / "paid").touch()
        embedded.acquire(server)
        stage.show("# PostgreSQL is stopped, and started again")
        stage.until(lambda: _ended(stage, order), "the end")
        stage.type("inspect", order)
        (stage.directory / "paid").unlink()


def _ended(stage: Stage, order: str) -> bool:
    return stage.ask("inspect", order).count("completed") > 1


LONG: dict[str, Callable[[Stage, Path], None]] = {
    "deploy": deploy,
    "node": node_dies,
    "database": database_restarts,
}


def told_in(text: str, name: str) -> str:
    """Return a session as a page tells it."""
    _, found, rest = text.partition(f"{SESSION.format(name=name)}\n```text\n")
    if not found:
        raise ValueError(f"There is no session {name!r} in the page.")
    return rest.partition(f"\n```\n{END}")[0]


def tell(path: Path, name: str, session: str) -> None:
    """Write a session into a page, in the place of what was there."""
    text = path.read_text(encoding="utf-8")
    mark = SESSION.format(name=name)
    before, found, rest = text.partition(mark)
    if found:
        _, _, after = rest.partition(END)
        path.write_text(f"{before}{mark}\n```text\n{session}\n```\n{END}{after}", encoding="utf-8")


def main() -> None:
    """Run sessions and write them into the pages."""
    wanted = sys.argv[1:] or [*SHORT, *LONG]
    with tempfile.TemporaryDirectory() as directory:
        told = _sessions(Path(directory), wanted)
    for name, session in told.items():
        for page in (README, GUIDE):
            tell(page, name, session)
    if "kill" in told:
        PICTURE.parent.mkdir(exist_ok=True)
        PICTURE.write_text(picture(told["kill"], title="kill -9"), encoding="utf-8")


def _sessions(directory: Path, wanted: list[str]) -> dict[str, str]:
    server = directory / "pg"
    dsn = embedded.acquire(server).dsn
    stage = Stage(directory, dsn, "durable", workflows())
    try:
        told = short(stage, [name for name in wanted if name in SHORT])
        for name in wanted:
            if name in LONG:
                stage.shown.clear()
                LONG[name](stage, server)
                told[name] = "\n".join(stage.shown)
    finally:
        stage.close()
        embedded.reset(server, force=True)
    return told


if __name__ == "__main__":
    main()

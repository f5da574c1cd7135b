"""The children of a supervision scenario: their program, and their specifications."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from durable_otp.otp import (
    ChildSpec,
    DynamicSupervisorSpec,
    Ignore,
    InitError,
    Shutdown,
    SupervisorFlags,
    SupervisorSpec,
)


def behave(parent: Any, directory: str, path: str, behaviour: dict, instance: str = "") -> None:
    """The program of every worker in a scenario."""
    me = f"{path.rpartition('/')[0]}/{instance}".lstrip("/") if instance else path
    start = _count_start(Path(directory), me)
    if "init_ms" in behaviour and start in behaviour.get("init_ms_on", (start,)):
        time.sleep(behaviour["init_ms"] / 1000)
    if _fails(behaviour, start):
        raise InitError("fail")
    if start in behaviour.get("ignore_on", ()) or behaviour.get("start") == "ignore":
        raise Ignore
    if not behaviour.get("trap_exit", True):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, lambda *_: None)
    dies = "die_after_ms" in behaviour and start in behaviour.get("die_on", (start,))
    deadline = time.monotonic() + behaviour["die_after_ms"] / 1000 if dies else None
    parent.ready()
    _live(parent, Path(directory), behaviour, deadline)


def _live(parent: Any, directory: Path, behaviour: dict, deadline: float | None) -> None:
    order = directory / f"crash.{os.getpid()}"
    while True:
        parent.receive(None if deadline is None else deadline - time.monotonic())
        if parent.stopping:
            _stop(parent, behaviour)
        if order.exists():
            _end(parent, order.read_text())
        if deadline is not None and time.monotonic() >= deadline:
            _end(parent, behaviour.get("die_reason", "error"))


def _count_start(directory: Path, path: str) -> int:
    counter = directory / f"starts.{path.replace('/', '.')}"
    with counter.open("ab") as file:
        file.write(b".")
    return counter.stat().st_size


def _fails(behaviour: dict, start: int) -> bool:
    return (
        start in behaviour.get("fail_on", ())
        or start >= behaviour.get("fail_from", sys.maxsize)
        or start <= behaviour.get("fail_times", 0)
        or behaviour.get("start") == "fail"
    )


def _stop(parent: Any, behaviour: dict) -> None:
    if behaviour.get("stop") == "hang":
        while True:
            signal.pause()
    time.sleep(behaviour.get("stop_ms", 0) / 1000)
    _end(parent, behaviour.get("stop_exit", "shutdown"))


def _end(parent: Any, reason: str) -> None:
    if reason == "error":
        sys.exit(1)
    if reason == "normal":
        sys.exit(0)
    parent.exit(Shutdown(reason[len("{shutdown,") : -1] or None))


def supervisor_spec(
    spec: dict, path: str, directory: str
) -> SupervisorSpec | DynamicSupervisorSpec:
    """Return the specification of a scenario's supervisor."""
    flags = spec.get("flags", {})
    children = [child_spec(child, path, directory) for child in spec.get("children", [])]
    if flags.get("strategy") == "simple_one_for_one":
        return DynamicSupervisorSpec(
            children[0],
            intensity=flags.get("intensity", 1),
            period=flags.get("period", 5),
            auto_shutdown=flags.get("auto_shutdown", "never"),
        )
    return SupervisorSpec(SupervisorFlags(**flags), tuple(children))


def child_spec(spec: dict, above: str, directory: str) -> ChildSpec:
    """Return the specification of a scenario's child."""
    path = f"{above}/{spec['id']}".lstrip("/")
    shutdown = spec.get("shutdown")
    common = {name: spec[name] for name in ("restart", "significant", "type") if name in spec}
    if shutdown is not None:
        in_ms = isinstance(shutdown, int) and shutdown >= 0
        common["shutdown"] = shutdown / 1000 if in_ms else shutdown
    if "sup" in spec:
        return ChildSpec(spec["id"], supervisor_spec(spec["sup"], path, directory), **common)
    arguments = (directory, path, spec.get("behaviour", {}))
    return ChildSpec(spec["id"], behave, arguments, **common)

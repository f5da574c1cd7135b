"""Plays a supervision scenario with real processes and writes a trace as OTP's oracle does.

The format is described in tests/processes/otp_scenarios: a supervisor, its children's behaviour
and a list of actions. `play` returns the trace; a process appears in it as `path#n`, its n-th
start.
"""

import itertools
import os
import re
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from durable_otp.otp import (
    AlreadyPresent,
    AlreadyStarted,
    ChildInfo,
    ChildSpec,
    DynamicSupervisorSpec,
    Ignore,
    InitError,
    InvalidSpec,
    NoProcess,
    NotFound,
    NotSupported,
    Restarting,
    Running,
    Shutdown,
    StartFailed,
    Supervisor,
    SupervisorEvent,
    SupervisorFlags,
    SupervisorSpec,
)
from tests.support.waiting import wait_until

# ---------------------------------------------------------------- in the child


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


# ---------------------------------------------------------------- specifications


def _tree(spec: dict, path: str, directory: str) -> SupervisorSpec | DynamicSupervisorSpec:
    flags = spec.get("flags", {})
    children = [_child(child, path, directory) for child in spec.get("children", [])]
    if flags.get("strategy") == "simple_one_for_one":
        return DynamicSupervisorSpec(
            children[0], intensity=flags.get("intensity", 1), period=flags.get("period", 5)
        )
    return SupervisorSpec(SupervisorFlags(**flags), tuple(children))


def _child(spec: dict, above: str, directory: str) -> ChildSpec:
    path = f"{above}/{spec['id']}".lstrip("/")
    shutdown = spec.get("shutdown")
    common = {name: spec[name] for name in ("restart", "significant", "type") if name in spec}
    if shutdown is not None:
        in_ms = isinstance(shutdown, int) and shutdown >= 0
        common["shutdown"] = shutdown / 1000 if in_ms else shutdown
    if "sup" in spec:
        return ChildSpec(spec["id"], _tree(spec["sup"], path, directory), **common)
    arguments = (directory, path, spec.get("behaviour", {}))
    return ChildSpec(spec["id"], behave, arguments, **common)


# ---------------------------------------------------------------- OTP's spelling


def spell(value: Any) -> str:
    """Return a value as Erlang writes it."""
    if value is None:
        return "undefined"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "{" + ",".join(map(spell, value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(spell, value)) + "]"
    return str(value)


def _reason(facts: dict) -> Any:
    match facts["reason"]:
        case "shutdown" if facts["term"] is not None:
            return ("shutdown", facts["term"])
        case "failed":
            return "error"
        case reason:
            return reason


def _failure(failure: dict) -> Any:
    match failure["kind"]:
        case "child":
            why = ("failed_to_start_child", failure["child_id"], _failure(failure["cause"]))
            return ("shutdown", why)
        case "invalid":
            what, value = re.match(r"(.+) is not allowed to be (.+); use", failure["text"]).groups()
            return _invalid(what, value.strip("'"))
        case _:
            return failure["text"]


_FLAGS = {"strategy", "intensity", "period", "auto_shutdown"}


def _invalid(what: str, value: Any) -> Any:
    if what == "auto_shutdown" and value == "never":
        return ("start_spec", _wrong_child(what, value))
    if what in _FLAGS:
        return ("supervisor_data", (f"invalid_{what}", value))
    return ("start_spec", _wrong_child(what, value))


def _wrong_child(what: str, value: Any) -> Any:
    if what in ("auto_shutdown", "restart of a significant child"):
        name = "auto_shutdown" if what == "auto_shutdown" else "restart"
        return ("bad_combination", [(name, value), ("significant", True)])
    names = {"restart": "invalid_restart_type", "id": "duplicate_child_name"}
    return (names.get(what, f"invalid_{what}"), value)


_ANSWERS = {
    NotFound: "not_found",
    Running: "running",
    Restarting: "restarting",
    AlreadyPresent: "already_present",
    NotSupported: "simple_one_for_one",
}


def describe(action: dict) -> str:
    """Return the trace's line for an action."""
    words = [action["do"]]
    if "sup" in action:
        words.append(f"[{action['sup']}]")
    words += [str(action[key]) for key in ("id", "reason", "ms") if key in action]
    if "child" in action:
        words.append(action["child"]["id"])
    if "instance" in action:
        words.append(action["instance"])
    return " ".join(words) + (" (no settle)" if action.get("settle") is False else "")


# ---------------------------------------------------------------- the player


class Player:
    """One scenario on its way; `lines` is the trace."""

    def __init__(self, scenario: dict, directory: Path) -> None:
        self.scenario = scenario
        self.directory = str(directory)
        self.lines: list[str] = []
        self.starts: Counter[str] = Counter()
        self.names: dict[int, str] = {}
        self.pids: dict[str, int] = {}
        self.stopped: set[int] = set()
        self.victims: set[str] = set()
        self.dynamic: dict[str, str] = {}
        self.exit_reason = "shutdown"
        self.ended = False
        self.following: dict | None = None
        self.announced = False

    def play(self) -> str:
        self.lines.append("> boot")
        self._note_dynamic(self.scenario["sup"], "")
        tree = _tree(self.scenario["sup"], "", self.directory)
        self.supervisor = (
            Supervisor(tree, on_event=self._hear)
            if isinstance(tree, DynamicSupervisorSpec)
            else Supervisor(tree.flags, tree.children, on_event=self._hear)
        )
        try:
            self.supervisor.start()
        except InvalidSpec as error:
            self.lines.append("= " + spell(("error", _invalid(error.what, error.value))))
            self.ended = True
        except StartFailed as error:
            failure = ("failed_to_start_child", error.child_id, _failure(error.failure.to_fields()))
            self.lines.append("= " + spell(("error", ("shutdown", failure))))
            self.ended = True
        else:
            self.lines.append("= ok")
            self._settle()
        try:
            self._act()
        finally:
            self.supervisor.stop(0)
        self.lines.append("> end")
        return "\n".join(self._normal()) + "\n"

    def _act(self) -> None:
        actions = self.scenario["actions"]
        for action, following in itertools.zip_longest(actions, actions[1:]):
            self._do(action, following)
        if not self.ended:
            self._do({"do": "stop"})

    def _do(self, action: dict, following: dict | None = None) -> None:
        if not self.announced:
            self.lines.append("> " + describe(action))
        self.announced = False
        unsettled = action["do"] == "crash" and action.get("settle") is False
        self.following = following if unsettled else None
        if action["do"] == "sleep":
            time.sleep(action["ms"] / 1000)
        elif self.ended:
            self.lines.append("= noproc")
        elif action["do"] == "stop":
            self.exit_reason = action.get("reason", "shutdown")
            self.supervisor.stop()
        elif action["do"] == "crash":
            self._crash(action["id"], action["reason"])
        else:
            answer = self._call(action)
            self.lines.append("= " + answer)
        if action.get("settle") is not False:
            self._settle()

    def _crash(self, path: str, reason: str) -> None:
        pid = self.pids.get(path)
        if pid is None or pid in self.stopped:
            self.lines.append("= not_running")
            return
        self.victims.add(self.names[pid])
        if reason == "kill":
            os.kill(pid, signal.SIGKILL)
        else:
            Path(self.directory, f"crash.{pid}").write_text(reason)
            os.kill(pid, signal.SIGUSR1)
        wait_until(lambda: pid in self.stopped, what=f"the end of {path}")

    def _call(self, action: dict) -> str:
        path = action.get("sup", "")
        handle = self.supervisor.child(path) if path else self.supervisor
        try:
            return self._answer(action, handle, path)
        except AlreadyStarted as error:
            return spell(("error", ("already_started", self.names[error.pid])))
        except StartFailed as error:
            why = _failure(error.failure.to_fields())
            wrap = action["do"] == "start_child" and "child" in action
            return spell(("error", (why, "child") if wrap else why))
        except InvalidSpec as error:
            return spell(("error", _wrong_child(error.what, error.value)))
        except NoProcess:
            return "noproc"
        except tuple(_ANSWERS) as error:
            return spell(("error", _ANSWERS[type(error)]))

    def _answer(self, action: dict, handle: Any, path: str) -> str:  # noqa: PLR0911 - one per call
        match action["do"]:
            case "start_child" if "instance" in action:
                return self._started(
                    handle.start_child(action["instance"], child_id=action["instance"])
                )
            case "start_child":
                self._note_dynamic(
                    action["child"].get("sup", {}), f"{path}/{action['child']['id']}"
                )
                return self._started(
                    handle.start_child(_child(action["child"], path, self.directory))
                )
            case "restart_child":
                return self._started(handle.restart_child(action["id"]))
            case "terminate_child" | "delete_child" as name:
                getattr(handle, name)(action.get("instance", action.get("id")))
                return "ok"
            case "get_childspec":
                return _show_spec(handle.get_childspec(action["id"]))
            case "which_children":
                return self._which(handle.which_children(), path)
            case _:
                counts = handle.count_children()
                return " ".join(f"{name}={value}" for name, value in vars(counts).items())

    def _started(self, child: ChildInfo | None) -> str:
        return spell(("ok", self.names[child.pid] if child else None))

    def _which(self, children: list[ChildInfo], path: str) -> str:
        names = {c.id: self.names[c.pid] if c.state == "up" else c.state for c in children}
        if path in self.dynamic:
            lines = sorted(f"{names[c.id]} {c.state} {c.type}" for c in children)
        else:
            lines = [f"{c.id} {names[c.id]} {c.type}" for c in children]
        return "[" + ", ".join(lines) + "]"

    # what is heard

    def _hear(self, event: SupervisorEvent) -> None:
        path, facts = event.path, event.facts
        if event.name in ("started", "start_failed", "start_ignored"):
            self.starts[path] += 1
            name = f"{path} #{self.starts[path]}"
            why = f" {spell(_failure(facts['failure']))}" if event.name == "start_failed" else ""
            self.names[facts["pid"]] = name.replace(" ", "")
            self.pids[path] = facts["pid"]
            self.lines.append(f"{event.name} {name}{why}")
        elif event.name == "stopped":
            self.lines.append(f"stopped {path} #{self.starts[path]} {spell(_reason(facts))}")
            if self.following is not None:  # the oracle goes on the moment it sees the victim's end
                self.lines.append("> " + describe(self.following))
                self.following, self.announced = None, True
            self.stopped.add(facts["pid"])

    def _settle(self) -> None:
        """Wait until nothing happens any more, in any supervisor."""
        while not self.ended:
            before = len(self.lines)
            try:
                busy = self._is_restarting(self.supervisor)
            except NoProcess:
                self._note_end()
                return
            time.sleep(0.03)
            if self.supervisor.wait(0) is not None:
                self._note_end()
            elif not busy and len(self.lines) == before:
                return

    def _is_restarting(self, handle: Any) -> bool:
        busy = False
        for child in handle.which_children():
            busy = busy or child.state == "restarting"
            if child.type == "supervisor" and child.state == "up":
                busy = busy or self._nested_is_restarting(handle, child.id)
        return busy

    def _nested_is_restarting(self, handle: Any, child_id: str) -> bool:
        try:
            return self._is_restarting(handle.child(child_id))
        except (NoProcess, NotSupported):
            return handle is not self.supervisor or self.supervisor.wait(0) is None

    def _note_end(self) -> None:
        wait_until(lambda: self.supervisor.wait(0) is not None, what="the root's end")
        self.lines.append(f"supervisor exit {self.exit_reason}")
        self.ended = True

    # the oracle's normalisation: instances of one dynamic supervisor stop in no order

    def _note_dynamic(self, spec: dict, path: str) -> None:
        if spec.get("flags", {}).get("strategy") == "simple_one_for_one":
            self.dynamic[path.lstrip("/")] = path
            return
        for child in spec.get("children", []):
            self._note_dynamic(child.get("sup", {}), f"{path}/{child['id']}")

    def _normal(self) -> list[str]:
        lines: list[str] = []
        run: list[str] = []
        for line in [*self.lines, ""]:
            if self._is_instance_stop(line):
                run.append(line)
                continue
            lines += sorted(run)
            run = []
            lines.append(line)
        return lines[:-1]

    def _is_instance_stop(self, line: str) -> bool:
        words = line.split()
        if not words or words[0] != "stopped" or "".join(words[1:3]) in self.victims:
            return False
        return words[1].rpartition("/")[0] in self.dynamic


def _show_spec(spec: ChildSpec) -> str:
    shutdown = spec.shutdown if isinstance(spec.shutdown, str) else round(spec.shutdown * 1000)
    return (
        f"{{ok,id={spec.id} restart={spec.restart} shutdown={shutdown} "
        f"significant={spell(spec.significant)} type={spec.type}}}"
    )


def play(scenario: dict, directory: Path) -> str:
    """Return the trace of a scenario; `directory` is for the processes' own bookkeeping."""
    return Player(scenario, directory).play()

"""Plays a supervision scenario with real processes and writes a trace as OTP's oracle does.

The format is described in tests/processes/otp_scenarios: a supervisor, its children's behaviour
and a list of actions. `play` returns the trace; a process appears in it as `path#n`, its n-th
start.
"""

import itertools
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

from durable_otp.otp import (
    AlreadyStarted,
    ChildInfo,
    DynamicSupervisorSpec,
    InvalidSpec,
    NoProcess,
    StartFailed,
    Supervisor,
    SupervisorEvent,
)
from tests.support import otp_spelling as spelling
from tests.support.otp_behaviours import child_spec, supervisor_spec
from tests.support.otp_spelling import describe, spell
from tests.support.waiting import wait_until

_NOBODY = 2**30  # no pid
_AFTER_SLEEP = 0.03


def play(scenario: dict, directory: Path) -> str:
    """Return the trace of a scenario; `directory` is for the processes' own bookkeeping."""
    return Player(scenario, directory).play()


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
        self.supervisors: set[str] = set()
        self.dynamic: set[str] = set()
        self.exit_reason = "shutdown"
        self.ended = False
        self.following: dict | None = None
        self.announced = False

    def play(self) -> str:
        self.lines.append("> boot")
        self._note(self.scenario["sup"], "")
        spec = supervisor_spec(self.scenario["sup"], "", self.directory)
        fixed = () if isinstance(spec, DynamicSupervisorSpec) else (spec.flags, spec.children)
        self.supervisor = Supervisor(*(fixed or (spec,)), on_event=self._hear)
        try:
            self._boot()
            self._act()
        finally:
            self.supervisor.stop(0)
        self.lines.append("> end")
        return "\n".join(self._normal()) + "\n"

    def _boot(self) -> None:
        try:
            self.supervisor.start()
        except InvalidSpec as error:
            self._refused(spelling.invalid(error.what, error.value))
        except StartFailed as error:
            why = spelling.failure(error.failure.to_fields())
            self._refused(("shutdown", ("failed_to_start_child", error.child_id, why)))
        else:
            self.lines.append("= ok")
            self._settle()

    def _refused(self, why: Any) -> None:
        self.lines.append("= " + spell(("error", why)))
        self.ended = True

    # what is done

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
            self.lines.append("= " + self._call(action))
        if action.get("settle") is not False:
            self._settle(_AFTER_SLEEP if action["do"] == "sleep" else 0.0)

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
            return self._answer(action, handle, path) if path in self.supervisors else "noproc"
        except AlreadyStarted as error:
            return spell(("error", ("already_started", self.names[error.pid])))
        except StartFailed as error:
            why = spelling.failure(error.failure.to_fields())
            wrap = action["do"] == "start_child" and "child" in action
            return spell(("error", (why, "child") if wrap else why))
        except InvalidSpec as error:
            return spell(("error", spelling.wrong_child(error.what, error.value)))
        except NoProcess:
            return "noproc"
        except tuple(spelling.ANSWERS) as error:
            return spell(("error", spelling.ANSWERS[type(error)]))

    def _answer(self, action: dict, handle: Any, path: str) -> str:  # noqa: PLR0911 - one per call
        match action["do"]:
            case "start_child" if "child" in action:
                return self._started(handle.start_child(self._new_child(action["child"], path)))
            case "start_child":
                name = action["instance"]
                return self._started(handle.start_child(name, child_id=name))
            case "restart_child":
                return self._started(handle.restart_child(action["id"]))
            case "terminate_child" | "delete_child" as name:
                getattr(handle, name)(self._whom(action, path))
                return "ok"
            case "get_childspec":
                return spelling.spec(handle.get_childspec(action["id"]))
            case "which_children":
                return self._which(handle.which_children(), path)
        counts = vars(handle.count_children())
        return " ".join(f"{name}={value}" for name, value in counts.items())

    def _new_child(self, child: dict, path: str) -> Any:
        if "sup" in child:
            self._note(child["sup"], f"{path}/{child['id']}")
        return child_spec(child, path, self.directory)

    def _whom(self, action: dict, path: str) -> str | int:
        """Return a child's id, or the pid of the oldest living instance of a dynamic one's name."""
        if "instance" not in action:
            return action["id"]
        wanted = f"{path}/{action['instance']}".lstrip("/")
        living = (pid for pid in self.names if pid not in self.stopped)
        return next((p for p in living if self.names[p].rpartition("#")[0] == wanted), _NOBODY)

    def _started(self, child: ChildInfo | None) -> str:
        return spell(("ok", self.names[child.pid] if child else None))

    def _which(self, children: list[ChildInfo], path: str) -> str:
        named = [(c, self.names[c.pid] if c.state == "up" else c.state) for c in children]
        if path in self.dynamic:
            lines = sorted(f"{name} {c.state} {c.type}" for c, name in named)
        else:
            lines = [f"{c.id} {name} {c.type}" for c, name in named]
        return "[" + ", ".join(lines) + "]"

    # what is heard

    def _hear(self, event: SupervisorEvent) -> None:
        path, facts = event.path, event.facts
        if event.name in ("started", "start_failed", "start_ignored"):
            self._hear_start(event.name, path, facts)
        elif event.name == "stopped":
            number = self.names[facts["pid"]].rpartition("#")[2]
            self.lines.append(f"stopped {path} #{number} {spell(spelling.reason(facts))}")
            if self.following is not None:  # the oracle goes on the moment it sees the victim's end
                self.lines.append("> " + describe(self.following))
                self.following, self.announced = None, True
            self.stopped.add(facts["pid"])

    def _hear_start(self, how: str, path: str, facts: dict) -> None:
        self.starts[path] += 1
        number = self.starts[path]
        why = f" {spell(spelling.failure(facts['failure']))}" if how == "start_failed" else ""
        self.lines.append(f"{how} {path} #{number}{why}")
        if how == "started":
            self.names[facts["pid"]] = f"{path}#{number}"
            self.pids[path] = facts["pid"]

    def _settle(self, quiet: float = 0.0) -> None:
        """Wait until nothing happens any more, in any supervisor.

        No pause is needed for that: a supervisor answers when it has done what came before, and its
        events and answers arrive in order. `quiet` is for deaths that nobody asked for.
        """
        while not self.ended:
            before = len(self.lines)
            try:
                busy = self._is_busy(self.supervisor, "")
            except NoProcess:
                self._note_end()
                return
            time.sleep(0.005 if busy else quiet)
            if not busy and len(self.lines) == before:
                return

    def _is_busy(self, handle: Any, above: str) -> bool:
        for child in handle.which_children():
            path = f"{above}/{child.id}".lstrip("/")
            nested = child.state == "up" and path in self.supervisors
            if child.state == "restarting" or (nested and self._nested_is_busy(path)):
                return True
        return False

    def _nested_is_busy(self, path: str) -> bool:
        try:
            return self._is_busy(self.supervisor.child(path), path)
        except NoProcess:  # it has ended, and its supervisor does not know yet
            return True

    def _note_end(self) -> None:
        wait_until(lambda: self.supervisor.wait(0) is not None, what="the root's end")
        self.lines.append(f"supervisor exit {self.exit_reason}")
        self.ended = True

    # which supervisors there are, and the oracle's normalisation: instances of a dynamic one stop
    # in no order

    def _note(self, spec: dict, path: str) -> None:
        self.supervisors.add(path.lstrip("/"))
        if spec.get("flags", {}).get("strategy") == "simple_one_for_one":
            self.dynamic.add(path.lstrip("/"))
            return
        for child in spec.get("children", []):
            if "sup" in child:
                self._note(child["sup"], f"{path}/{child['id']}")

    def _normal(self) -> list[str]:
        lines: list[str] = []
        for in_no_order, group in itertools.groupby(self.lines, self._is_instance_stop):
            run = list(group)
            lines += sorted(run) if in_no_order else run
        return lines

    def _is_instance_stop(self, line: str) -> bool:
        words = line.split()
        if words[0] != "stopped" or "".join(words[1:3]) in self.victims:
            return False
        return words[1].rpartition("/")[0] in self.dynamic

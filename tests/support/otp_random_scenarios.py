"""Random supervision scenarios in the format of tests/processes/otp_scenarios, one per seed.

They stay within what has one outcome: nothing happens at the same time as something else, and no
supervisor is killed. Run ``python -m tests.support.otp_random_scenarios DIR FIRST LAST`` to write
them as files, for an oracle.
"""

import json
import random
import sys
from pathlib import Path
from typing import Any

REASONS = ("normal", "shutdown", "{shutdown,x}", "error", "kill")
RESTARTS = ("permanent", "permanent", "transient", "temporary")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")

_BEHAVIOURS: tuple[dict[str, Any], ...] = (
    {"fail_on": [2]},
    {"fail_on": [2, 3]},
    {"fail_on": [3]},
    {"fail_from": 2},
    {"fail_from": 3},
    {"ignore_on": [2]},
    {"start": "ignore"},
    {"stop_exit": "error"},
    {"stop_exit": "normal"},
    {"stop_exit": "{shutdown,x}"},
    {"stop_ms": 60},
    {"init_ms": 30},
    {"trap_exit": False},
)
_STUBBORN: tuple[dict[str, Any], ...] = (
    {"shutdown": 150, "behaviour": {"stop": "hang"}},
    {"shutdown": 150, "behaviour": {"stop_ms": 900}},
    {"shutdown": 2000, "behaviour": {"stop_ms": 60}},
    {"shutdown": "brutal_kill", "behaviour": {"stop": "hang"}},
    {"shutdown": "infinity", "behaviour": {"stop_ms": 60}},
)


class Maker:
    """Makes one scenario; remembers the paths that its actions may name."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.name = f"random_{seed:04d}"
        self.workers: list[str] = []
        self.supervisors: dict[str, dict] = {}

    def scenario(self) -> dict:
        supervisor = self._supervisor("", depth=0)
        actions = [self._action() for _ in range(self.chance.randint(3, 9))]
        return {"name": self.name, "doc": "random", "sup": supervisor, "actions": actions}

    def _often(self, probability: float) -> bool:
        return self.chance.random() < probability

    def _supervisor(self, path: str, depth: int) -> dict:
        if self._often(0.12):
            return self._dynamic(path)
        auto = self.chance.choice(("never", "never", "any_significant", "all_significant"))
        flags = {"strategy": self.chance.choice(STRATEGIES), "period": 5}
        flags |= {"intensity": self.chance.randint(0, 4)} if self._often(0.85) else {}
        flags |= {"auto_shutdown": auto} if auto != "never" else {}
        flags |= self._wrong_flag() if self._often(0.02) else {}
        made: dict = {"flags": flags, "children": []}
        self.supervisors[path] = made
        for name in "abcd"[: self.chance.randint(1, 4)]:
            made["children"].append(self._child(path, name, auto, depth))
        if self._often(0.01):
            made["children"].append(dict(made["children"][0]))
        return made

    def _wrong_flag(self) -> dict:
        return self.chance.choice(
            ({"strategy": "one"}, {"intensity": -1}, {"period": 0}, {"auto_shutdown": "some"})
        )

    def _dynamic(self, path: str) -> dict:
        flags = {"strategy": "simple_one_for_one", "intensity": self.chance.randint(0, 3)}
        auto = self.chance.choice(("never", "never", "any_significant", "all_significant"))
        flags |= {"auto_shutdown": auto} if auto != "never" else {}
        made = {"flags": flags | {"period": 5}, "children": [self._worker("w", auto)]}
        if made["children"][0].get("behaviour", {}).get("start") == "ignore":
            del made["children"][0]["behaviour"]
        self.supervisors[path] = made
        self.workers += [f"{path}/{name}".lstrip("/") for name in ("i1", "i2", "i3")]
        return made

    def _child(self, above: str, name: str, auto: str, depth: int) -> dict:
        path = f"{above}/{name}".lstrip("/")
        if depth < 2 and self._often(0.3):
            made = self._policy(name, auto)
            return made | {"sup": self._supervisor(path, depth + 1)}
        self.workers.append(path)
        return self._worker(name, auto)

    def _policy(self, name: str, auto: str) -> dict:
        made: dict = {"id": name}
        if self._often(0.8):
            made["restart"] = self.chance.choice(RESTARTS)
        wanted = auto != "never" and made.get("restart", "permanent") != "permanent"
        if self._often(0.6 if wanted else 0.01):
            made["significant"] = True
        if self._often(0.01):
            made["restart"] = "always"
        if self._often(0.05):
            made["type"] = self.chance.choice(("worker", "supervisor"))
        return made

    def _worker(self, name: str, auto: str) -> dict:
        made = self._policy(name, auto)
        if self._often(0.3):
            made["behaviour"] = dict(self.chance.choice(_BEHAVIOURS))
        elif self._often(0.12):
            made |= self.chance.choice(_STUBBORN)
        if self._often(0.015):
            made["behaviour"] = {"start": "fail"}
        return made

    def _action(self) -> dict:
        kind = self.chance.choices(("crash", "call", "ask", "stop"), (10, 6, 3, 0.2))[0]
        if kind == "stop":
            return {"do": "stop", "reason": self.chance.choice(("shutdown", "normal"))}
        if kind == "crash" and self.workers:
            path = self.chance.choice(self.workers)
            return {"do": "crash", "id": path, "reason": self.chance.choice(REASONS)}
        path = self.chance.choice(list(self.supervisors))
        where = {"sup": path} if path else {}
        if kind == "ask":
            return {"do": self.chance.choice(("which_children", "count_children")), **where}
        return self._call(path) | where

    def _call(self, path: str) -> dict:
        known = [child["id"] for child in self.supervisors[path]["children"]]
        child_id = self.chance.choice([*known, *known, "nobody"])
        dynamic = self.supervisors[path]["flags"].get("strategy") == "simple_one_for_one"
        if dynamic and self._often(0.8):
            name = self.chance.choice(("i1", "i2", "i3"))
            verb = self.chance.choice(("start_child", "start_child", "terminate_child"))
            return {"do": verb, "instance": name}
        names = ["terminate_child", "restart_child", "delete_child", "get_childspec"]
        verb = self.chance.choice(names if dynamic else [*names, "start_child"])
        if verb == "start_child":
            return {"do": verb, "child": self._added(path)}
        return {"do": verb, "id": child_id}

    def _added(self, path: str) -> dict:
        supervisor = self.supervisors[path]
        auto = supervisor["flags"].get("auto_shutdown", "never")
        name = self.chance.choice("abcdef")
        if name in "ef":
            return self._child(path, name, auto, depth=2)
        return self._worker(name, auto)


def scenario(seed: int) -> dict:
    """Return the scenario of this seed."""
    return Maker(seed).scenario()


if __name__ == "__main__":
    target, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    target.mkdir(parents=True, exist_ok=True)
    for seed in range(first, last + 1):
        made = scenario(seed)
        (target / f"{made['name']}.json").write_text(json.dumps(made, indent=1))

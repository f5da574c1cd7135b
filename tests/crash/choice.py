"""Which crash points are swept wherever they occur, and which once, being the same elsewhere.

Where something is committed (a ``COMMIT``, or a statement that changes rows by itself), each role
is killed before and after the server has done it (``before``, ``sent``) in every scenario, and a
worker or a client loses its answer in every scenario. Once for each role, statement, occurrence and
way to commit, in the first scenario that has it, come:

* what breaks at a statement that only reads, or within a transaction: the rows are those that the
  last commit has left, where the role is killed in every scenario already;
* what is killed, or reset, *after* its answer: nothing is under way then, and the rows are those
  *before* the next statement, which is a crash point of its own;
* a reset of a manager or a sibling, and a reset before a statement was executed: one function
  (`Database.run`, `AsyncDatabase.run`) has all statements of all scenarios repeated.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.points import SIBLINGS, CrashPoint, Deciding

REPEATED_BY_ONE_FUNCTION = ("manager", *SIBLINGS)
THIRD = 3
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """Where points are: a scenario, how its queues commit, and what commits something in it."""

    scenario: str
    commit: str
    deciding: Deciding

    def sweeps(self, point: CrashPoint, action: str) -> bool:
        """Return whether a point is swept here, although another place may have it too."""
        if (point.role, point.statement) not in self.deciding or point.point == "after":
            return False
        return action == "kill" or (
            point.point == "sent" and point.role not in REPEATED_BY_ONE_FUNCTION
        )


@dataclass
class Swept:
    """The points that a file of results has of some commits; others add to it meanwhile.

    Args:
        path: The file; may be missing.
        revisions: The commits.
        start: From which byte on results count.
    """

    path: Path
    revisions: Collection[str]
    start: int = 0
    _kinds: set[Key] = field(default_factory=set)
    _points: set[Key] = field(default_factory=set)

    def is_new(self, place: Place, point: CrashPoint, action: str) -> bool:
        """Return whether a point is still to be swept."""
        self._look()
        about = (action, point.role, point.statement, point.point)
        if (place.scenario, place.commit, *about, point.occurrence) in self._points:
            return False
        kind = (place.commit, *about, min(point.occurrence, THIRD))
        return place.sweeps(point, action) or kind not in self._kinds

    def _look(self) -> None:
        """Read what was added since the last look; of a line that is being written, nothing."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self.start)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self.start += len(line)
                self._note(json.loads(line))

    def _note(self, line: dict[str, Any]) -> None:
        if not line.get("reached") or line["revision"] not in self.revisions:
            return
        about = (line["action"], line["role"], line["statement"], line["point"])
        self._points.add((line["scenario"], line["commit"], *about, line["occurrence"]))
        self._kinds.add((line["commit"], *about, min(line["occurrence"], THIRD)))

"""Which crash points are swept wherever they occur, and which once, being the same elsewhere.

Every statement of every role is killed before and after it was executed (``before``, ``sent``) in
every scenario, and a worker or a client loses its answer in every scenario. Once for each role,
statement, occurrence and way to commit, in the first scenario that has it, come:

* what is killed, or reset, *after* its answer: nothing is under way then, and PostgreSQL has the
  rows that it has *before* the next statement, which is a crash point of its own;
* a transaction's ``BEGIN`` and a connection's settings: no row differs from the point before it;
* a reset of a manager or a sibling, and a reset before a statement was executed: one function
  (`Database.run`, `AsyncDatabase.run`) has all statements of all scenarios repeated.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.points import SIBLINGS, CrashPoint

WITHOUT_EFFECT = ("BEGIN", "ROLLBACK", "DEALLOCATE", "SELECT", "SET", "session")
REPEATED_BY_ONE_FUNCTION = ("manager", *SIBLINGS)
THIRD = 3
Key = tuple[Any, ...]


def is_swept_everywhere(point: CrashPoint, action: str) -> bool:
    """Return whether each scenario that has a point sweeps it."""
    if point.statement in WITHOUT_EFFECT or point.point == "after":
        return False
    return action == "kill" or (
        point.point == "sent" and point.role not in REPEATED_BY_ONE_FUNCTION
    )


@dataclass
class Swept:
    """The points that a file of results has of one commit; others add to it meanwhile.

    Args:
        path: The file; may be missing.
        revision: The commit.
        start: From which byte on results count.
    """

    path: Path
    revision: str
    start: int = 0
    _kinds: set[Key] = field(default_factory=set)
    _points: set[Key] = field(default_factory=set)

    def is_new(self, place: tuple[str, str], point: CrashPoint, action: str) -> bool:
        """Return whether a point of a scenario, and of a way to commit, is still to be swept."""
        self._look()
        scenario, commit = place
        about = (action, point.role, point.statement, point.point)
        if (scenario, commit, *about, point.occurrence) in self._points:
            return False
        kind = (commit, *about, min(point.occurrence, THIRD))
        return is_swept_everywhere(point, action) or kind not in self._kinds

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
        if not line.get("reached") or line["revision"] != self.revision:
            return
        about = (line["action"], line["role"], line["statement"], line["point"])
        self._points.add((line["scenario"], line["commit"], *about, line["occurrence"]))
        self._kinds.add((line["commit"], *about, min(line["occurrence"], THIRD)))

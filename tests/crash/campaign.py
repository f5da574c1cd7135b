"""The sweep as a whole: which scenarios, on which trees, broken in which way; results as lines."""

import json
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from tests.crash.choice import Place
from tests.crash.ground import VERB, Ground
from tests.crash.points import SIBLINGS, CrashPoint
from tests.crash.scenarios import SCENARIOS, TWELVE
from tests.crash.sweeping import Sweep
from tests.crash.verb_sweep import VerbSweep
from tests.crash.verbs import VERBS

COMMITS = ("each", "batched")
REPEATED = (
    ("plain", "checkpoint"),
    ("plain", "complete"),
    ("sleep", "suspend"),
    ("deadly", "settle_crash"),
    ("parallel", "await_children COMMIT"),
    ("events", "waits_and_mail COMMIT"),
    ("transaction", "checkpoint COMMIT"),
    ("children", "start_once"),
)
"""Statements whose answer is lost, where something then looks whether they happened."""
LONG = {"children": 4, "parallel": 2, "each": 2, "events": 2, "input": 2, "failing": 2, "cron": 2}
"""Pieces that take many minutes."""
Line = dict[str, Any]
Chosen = Callable[[Place, list[CrashPoint]], Iterable[CrashPoint]]
"""Chooses among the points of a place."""
POINT = ("scenario", "commit", "action", "role", "statement", "occurrence", "point")
"""What tells one crash point from all others, in a line of a file."""


@dataclass(frozen=True)
class Piece:
    """One scenario on one tree: what can be swept by itself."""

    scenario: str
    commit: str
    reborn: str | None = None
    first: str | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether no sibling has a part in it: then they need not look so often."""
        return not {self.reborn, *SCENARIOS[self.scenario].roles} & set(SIBLINGS)

    @property
    def parts(self) -> int:
        """How many tasks it is, so that no lane is at work when all others have ended."""
        is_long = self.commit != VERB and not (self.reborn or self.first)
        return LONG.get(self.scenario, 1) if is_long else 1

    def __str__(self) -> str:
        more = [each for each in (self.reborn, self.first) if each]
        return "/".join([self.scenario, self.commit, *more])


def pieces() -> list[Piece]:
    """Return everything there is to sweep, but for the verbs.

    Both ways to commit where a worker runs the workflows; what the siblings do does not depend on
    it. And each role once more while it begins, which is where it recovers.
    """
    work = [Piece(name, commit) for name in TWELVE for commit in COMMITS]
    rest = [Piece(name, "each") for name in SCENARIOS if name not in TWELVE]
    anew = [Piece("plain", "each", role) for role in ("manager", *SIBLINGS)]
    anew.append(Piece("plain", "batched", "manager"))
    anew.append(Piece("limited", "each", "manager"))
    repeated = [Piece(name, "each", first=first) for name, first in REPEATED]
    batch = Piece("plain", "batched", first="complete_batch COMMIT")
    verbs = [Piece(name, VERB) for name in VERBS]
    return [*work, *rest, *anew, *repeated, batch, *verbs]


def sweep(
    ground: Ground,
    piece: Piece,
    action: str,
    chosen: Chosen = lambda _, points: points,
) -> Iterator[Line]:
    """Sweep a piece in one way; one that comes to no end is given up, and said so."""
    known = {"revision": revision()}
    if piece.commit == VERB:
        verb = VerbSweep(ground.client(), piece.scenario)
        calls = sum(verb.counts.values())
        for point in chosen(Place(verb.name, VERB, verb.deciding), verb.points()):
            yield verb.broken(point, action).public() | known | {"at": _now(), "calls": calls}
        return
    scenario = SCENARIOS[piece.scenario]
    made = ground.tree(scenario, piece.commit, is_quiet=piece.is_quiet)
    swept = Sweep(made, scenario, piece.commit, piece.reborn, piece.first)
    place = Place(swept.name, piece.commit, swept.deciding)
    for result in swept.results(chosen(place, swept.points()), action):
        yield result.public() | known | {"at": _now(), "calls": _calls(swept)}
        if result.seconds == 0.0 and result.violations:
            ground.leave()  # it has not ended, and would be in the way of all that follows
            return


def look(ground: Ground, piece: Piece) -> Line:
    """Run a piece undisturbed; return which statements are its crash points, and how many."""
    if piece.commit == VERB:
        points = VerbSweep(ground.client(), piece.scenario).points()
    else:
        scenario = SCENARIOS[piece.scenario]
        made = ground.tree(scenario, piece.commit, is_quiet=piece.is_quiet)
        points = Sweep(made, scenario, piece.commit, piece.reborn, piece.first).points()
    statements = sorted({point.statement for point in points})
    return {"piece": str(piece), "statements": statements, "points": len(points)}


def _calls(swept: Sweep) -> int:
    """Return K: how many statements the undisturbed run has of the roles that are swept."""
    roles = {swept.reborn} if swept.reborn else set(swept.scenario.roles)
    return sum(count for (role, _), count in swept.counts.items() if role in roles)


SWEPT = (":/durable_otp", ":/migrations", ":/tests/crash", ":/tests/support")
"""Who only writes about the product need not sweep it again."""


@cache
def revision() -> str:
    """Return the last commit that changed what is swept, with a + when files differ from it."""
    last = _git("log", "-1", "--format=%h", "--", *SWEPT)
    return (last + "+" * bool(_git("status", "--porcelain", "-uno", "--", *SWEPT))) or "unknown"


def _git(*words: str) -> str:
    asked = ["git", *words]
    done = subprocess.run(
        asked, capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return done.stdout.strip()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(line: Line, path: Path) -> None:
    """Append a line to a file, which others append to as well."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read(paths: Iterable[Path]) -> list[Line]:
    """Return what became of crash points, as files have it: each once, at its worst."""
    found: dict[tuple[str, ...], Line] = {}
    for line in _lines(paths):
        key = tuple(str(line.get(name)) for name in POINT)
        if "point" in line and not found.get(key, {"violations": ()})["violations"]:
            found[key] = line
    return list(found.values())


def swept(paths: Iterable[Path], also: Collection[str] = ()) -> list[Line]:
    """Return which pieces files have whole, of the commit that is checked out or of others."""
    whole = [line for line in _lines(paths) if "piece" in line]
    return [line for line in whole if line["revision"] in {revision(), *also}]


def unfinished(paths: Iterable[Path], action: str) -> list[str]:
    """Return the pieces of which files have no end, whichever commit was swept."""
    whole = {
        (line["piece"], line["part"][0])
        for line in _lines(paths)
        if "piece" in line and line["action"] == action
    }
    return [
        str(piece)
        for piece in pieces()
        if not {(str(piece), part) for part in range(piece.parts)} <= whole
    ]


def _lines(paths: Iterable[Path]) -> list[Line]:
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

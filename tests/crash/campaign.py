"""The sweep as a whole: which scenarios, on which trees, broken in which way; results as lines."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.crash.points import SIBLINGS, CrashPoint
from tests.crash.scenarios import SCENARIOS, TWELVE
from tests.crash.site import site
from tests.crash.sweeping import ACTIONS, Sweep
from tests.crash.verb_sweep import VerbSweep, verb_site
from tests.crash.verbs import VERBS
from tests.support.postgres import fresh_schema

COMMITS = ("each", "batched")
VERB = "verb"
"""In the place of how a queue commits: no queue takes part."""
REPEATED = (
    ("plain", "checkpoint"),
    ("plain", "complete"),
    ("sleep", "suspend"),
    ("deadly", "settle_crash"),
    ("parallel", "COMMIT"),
    ("children", "start_once"),
)
"""Statements whose answer is lost, where something then looks whether they happened."""
Line = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """One scenario on one tree: what can be swept by itself."""

    scenario: str
    commit: str
    reborn: str | None = None
    first: str | None = None

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
    repeated = [Piece(name, "each", first=first) for name, first in REPEATED]
    batch = Piece("plain", "batched", first="COMMIT")
    verbs = [Piece(name, VERB) for name in VERBS]
    return [*work, *rest, *anew, *repeated, batch, *verbs]


def sweep(
    dsn: str,
    piece: Piece,
    actions: Iterable[str] = ACTIONS,
    wanted: Callable[[CrashPoint], bool] = lambda _: True,
) -> Iterator[Line]:
    """Sweep a piece on a schema of its own; one that comes to no end is given up, and said so."""
    if piece.commit == VERB:
        yield from _sweep_verb(dsn, piece.scenario, actions, wanted)
        return
    scenario = SCENARIOS[piece.scenario]
    for action in actions:
        with (
            fresh_schema(dsn) as schema,
            site(dsn, schema, piece.commit, **dict(scenario.settings)) as made,
        ):
            swept = Sweep(made, scenario, piece.commit, piece.reborn, piece.first)
            for result in swept.results(filter(wanted, swept.points()), action):
                yield result.public() | {"at": _now(), "calls": _calls(swept)}
                if result.seconds == 0.0 and result.violations:
                    break  # it has not ended, and would be in the way of all that follows


def _sweep_verb(
    dsn: str, name: str, actions: Iterable[str], wanted: Callable[[CrashPoint], bool]
) -> Iterator[Line]:
    with fresh_schema(dsn) as schema, verb_site(dsn, schema) as made:
        swept = VerbSweep(made, name)
        calls = sum(swept.counts.values())
        for action in actions:
            for point in filter(wanted, swept.points()):
                yield swept.broken(point, action).public() | {"at": _now(), "calls": calls}


def _calls(swept: Sweep) -> int:
    """Return K: how many statements the undisturbed run has of the roles that are swept."""
    roles = {swept.reborn} if swept.reborn else set(swept.scenario.roles)
    return sum(count for (role, _), count in swept.counts.items() if role in roles)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def write(lines: Iterable[Line], path: Path) -> Iterator[Line]:
    """Append lines to a file as they come, and pass them on."""
    with path.open("a") as file:
        for line in lines:
            file.write(json.dumps(line) + "\n")
            file.flush()
            yield line


def read(paths: Iterable[Path]) -> list[Line]:
    """Return the lines of files."""
    return [json.loads(line) for path in paths for line in path.read_text().splitlines()]

"""The sweep as a whole: which scenarios, on which trees, broken in which way; results as lines."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.crash.points import SIBLINGS
from tests.crash.scenarios import SCENARIOS, TWELVE
from tests.crash.site import site
from tests.crash.sweeping import ACTIONS, Sweep
from tests.support.postgres import fresh_schema

COMMITS = ("each", "batched")
Line = dict[str, Any]


@dataclass(frozen=True)
class Piece:
    """One scenario on one tree: what can be swept by itself."""

    scenario: str
    commit: str
    reborn: str | None = None

    def __str__(self) -> str:
        return f"{self.scenario}/{self.commit}" + (f"/{self.reborn}" if self.reborn else "")


def pieces() -> list[Piece]:
    """Return everything there is to sweep, but for the verbs.

    Both ways to commit where a worker runs the workflows; what the siblings do does not depend on
    it. And each role once more while it begins, which is where it recovers.
    """
    work = [Piece(name, commit) for name in TWELVE for commit in COMMITS]
    rest = [Piece(name, "each") for name in SCENARIOS if name not in TWELVE]
    anew = [Piece("plain", "each", role) for role in ("manager", *SIBLINGS)]
    return [*work, *rest, *anew, Piece("plain", "batched", "manager")]


def sweep(dsn: str, piece: Piece, actions: Iterable[str] = ACTIONS) -> Iterator[Line]:
    """Sweep a piece on a schema of its own; a site that breaks is replaced, and said so."""
    scenario = SCENARIOS[piece.scenario]
    for action in actions:
        with (
            fresh_schema(dsn) as schema,
            site(dsn, schema, piece.commit, **dict(scenario.settings)) as made,
        ):
            swept = Sweep(made, scenario, piece.commit, piece.reborn)
            for result in swept.results(swept.points(), action):
                yield result.public() | {"at": _now(), "calls": _calls(swept)}
                if result.seconds == 0.0 and result.violations:
                    break  # it has not ended, and would be in the way of all that follows


def _calls(swept: Sweep) -> int:
    """Return K: how many statements the undisturbed run has of the roles that are swept."""
    roles = {swept.reborn} if swept.reborn else set(swept.scenario.roles)
    return sum(count for (role, _), count in swept.counts.items() if role in roles)


def _now() -> str:
    from datetime import UTC, datetime

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


def given_dsn() -> str:
    """Return where to sweep.

    Raises:
        SystemExit: ``DURABLE_TEST_DSN`` is not set.
    """
    dsn = os.environ.get("DURABLE_TEST_DSN")
    if not dsn:
        raise SystemExit("Set DURABLE_TEST_DSN to a PostgreSQL that tests may use.")
    return dsn

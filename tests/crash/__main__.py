"""``python -m tests.crash``: sweep the crash points and write the figures down.

``--list`` names the pieces, ``--piece`` picks some by a part of their name, ``--action`` and
``--role`` narrow each. Results are appended to ``--out`` as lines of JSON, so that a long sweep may
be run in pieces: ``--resume`` leaves out those that the file has whole. ``--lanes`` says how many
trees work beside each other. ``--write`` puts the sum of the files into ``docs/reliability.md``.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from durable_otp.storage.statements import catalogue
from tests.crash.campaign import Piece, pieces, read, swept, unfinished
from tests.crash.coverage import never
from tests.crash.lanes import LOOK, Task, sweep_all
from tests.crash.report import put, section
from tests.crash.sweeping import ACTIONS
from tests.support.postgres import session_server

LANES = 3 * (os.cpu_count() or 2)
"""A crash point is mostly waiting."""


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 when something was violated, or never swept."""
    given = _parser().parse_args(words)
    chosen = [piece for piece in pieces() if _is_chosen(str(piece), given.piece)]
    if given.list:
        print("\n".join(map(str, chosen)))
        return 0
    if given.look:
        return _look(chosen, given.lanes)
    if given.fresh:
        given.out.unlink(missing_ok=True)
    with TemporaryDirectory() as directory, session_server(Path(directory)) as dsn:
        failed = [] if given.report_only else sweep_all(dsn, _tasks(chosen, given), given.lanes)
        paths = [given.out, *given.more]
        lines = read(paths)
        text = section(lines, dsn, {action: unfinished(paths, action) for action in ACTIONS})
    if given.write:
        put(text)
    print(text)
    missing = [] if given.piece or given.role else never(lines)
    print(f"came to no end: {failed}; never a crash point: {missing}", file=sys.stderr)
    return int(bool(failed or missing or any(line["violations"] for line in lines)))


def _look(chosen: Sequence[Piece], lanes: int) -> int:
    """Run every piece undisturbed; name the statements that would be no crash point; 1 if any."""
    with TemporaryDirectory() as directory, session_server(Path(directory)) as dsn:
        out = Path(directory) / "looked"
        failed = sweep_all(dsn, [Task(piece, LOOK, out) for piece in chosen], lanes)
        found = [json.loads(line) for line in out.read_text().splitlines()]
    met = {statement for line in found for statement in line["statements"]}
    missing = sorted(catalogue().keys() - met)
    print(f"{sum(line['points'] for line in found)} points in {len(found)} pieces")
    print(f"came to no end: {failed}; never a crash point: {missing}", file=sys.stderr)
    return int(bool(failed or missing))


def _tasks(chosen: Sequence[Piece], given: argparse.Namespace) -> list[Task]:
    """Return what is to be swept, without what the results have already if that is asked for."""
    paths = [path for path in (given.out, *given.more) if path.exists()]
    also = tuple(given.also)
    found = swept(paths, given.also) if given.resume else ()
    whole = {(line["piece"], line["action"], line["part"][0]) for line in found}
    start = given.out.stat().st_size if given.out.exists() and not given.resume else 0
    return [
        Task(piece, action, given.out, tuple(given.role or ()), given.full, start, (part, of), also)
        for action in given.action or ACTIONS
        for piece in chosen
        for of in (piece.parts,)
        for part in range(of)
        if (str(piece), action, part) not in whole
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the pieces and end")
    parser.add_argument(
        "--look", action="store_true", help="break nothing; which statements are no crash point?"
    )
    parser.add_argument("--piece", action="append", default=[], help="a part of a piece's name")
    parser.add_argument("--action", action="append", choices=ACTIONS, help="default: both")
    parser.add_argument("--role", action="append", help="default: all that the piece has")
    parser.add_argument("--out", type=Path, default=Path("crash-points.jsonl"))
    parser.add_argument(
        "--full", action="store_true", help="also points that are the same elsewhere"
    )
    parser.add_argument(
        "--resume", action="store_true", help="leave out what the results have of this commit"
    )
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        help="a commit whose results --resume counts too: it has the same product",
    )
    parser.add_argument("--lanes", type=int, default=LANES, help="how many trees at a time")
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="other results to sum up")
    parser.add_argument("--report-only", action="store_true", help="sweep nothing")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    return parser


def _is_chosen(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(part in name for part in wanted)


if __name__ == "__main__":
    sys.exit(main())

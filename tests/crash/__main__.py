"""``python -m tests.crash``: sweep the crash points and write the figures down.

``--list`` names the pieces, ``--piece`` picks some by a part of their name, ``--action`` and
``--role`` narrow each. Results are appended to ``--out`` as lines of JSON, so that a long sweep may
be run in pieces; ``--write`` puts the sum of the files given into ``docs/reliability.md``.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.crash.campaign import Line, Piece, pieces, read, sweep, write
from tests.crash.coverage import exercised, never
from tests.crash.points import CrashPoint
from tests.crash.report import put, section
from tests.crash.sweeping import ACTIONS
from tests.support.postgres import session_server


def main(words: Sequence[str] | None = None) -> int:
    """Do what the command line says; 1 when something was violated, or never swept."""
    given = _parser().parse_args(words)
    chosen = [piece for piece in pieces() if _is_chosen(str(piece), given.piece)]
    if given.list:
        print("\n".join(map(str, chosen)))
        return 0
    with TemporaryDirectory() as directory, session_server(Path(directory)) as dsn:
        if given.fresh:
            given.out.unlink(missing_ok=True)
        failed = [str(each) for each in chosen if not (given.report_only or _run(dsn, each, given))]
        lines = read([given.out, *given.more])
        text = section(lines, dsn)
    if given.write:
        put(text)
    print(text)
    missing = [] if given.piece or given.role else never(lines)
    print(f"came to no end: {failed}; never a crash point: {missing}", file=sys.stderr)
    return int(bool(failed or missing or any(line["violations"] for line in lines)))


def _wanted(given: argparse.Namespace, action: str) -> Callable[[CrashPoint], bool]:
    """Return which points are asked for: of some roles, or that nobody has broken yet."""
    lines = read([path for path in (given.out, *given.more) if path.exists()])
    done = exercised(lines) if given.missing else {}

    def wanted(point: CrashPoint) -> bool:
        is_done = (action, point.point) in done.get(point.statement, set())
        is_named = not given.missing or point.statement in done
        return is_named and not is_done and (not given.role or point.role in given.role)

    return wanted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the pieces and end")
    parser.add_argument("--piece", action="append", default=[], help="a part of a piece's name")
    parser.add_argument("--action", action="append", choices=ACTIONS, help="default: both")
    parser.add_argument("--role", action="append", help="default: all that the piece has")
    parser.add_argument("--out", type=Path, default=Path("crash-points.jsonl"))
    parser.add_argument(
        "--missing", action="store_true", help="only statements that no result has at that point"
    )
    parser.add_argument("--fresh", action="store_true", help="forget what --out holds")
    parser.add_argument("--more", type=Path, nargs="*", default=[], help="other results to sum up")
    parser.add_argument("--report-only", action="store_true", help="sweep nothing")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    return parser


def _is_chosen(name: str, wanted: Sequence[str]) -> bool:
    return not wanted or any(part in name for part in wanted)


def _run(dsn: str, piece: Piece, given: argparse.Namespace) -> bool:
    """Sweep a piece; return whether its undisturbed run was as it must be."""
    is_sound = True
    for action in given.action or ACTIONS:
        found: list[Line] = []
        try:
            found += write(sweep(dsn, piece, [action], _wanted(given, action)), given.out)
        except AssertionError as error:
            is_sound = False
            print(f"{piece} {action}: {error}", file=sys.stderr, flush=True)
        bad = sum(bool(line["violations"]) for line in found)
        print(f"{piece} {action}: {len(found)} points, {bad} bad", file=sys.stderr, flush=True)
    return is_sound


if __name__ == "__main__":
    sys.exit(main())

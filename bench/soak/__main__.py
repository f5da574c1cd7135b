"""``python -m bench.soak``: work under a nemesis; exit code 1 if anything was lost or violated."""

import argparse
import json
import signal
import sys
import time
from collections import Counter
from pathlib import Path

from bench.soak import report
from bench.soak.cycle import Outcome, Plan, soak


def main() -> int:
    """Run; print what was found."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="of chaos, in all")
    parser.add_argument("--seed", default=time.strftime("%Y%m%d%H%M%S"))
    parser.add_argument("--cycle", type=float, default=300, help="seconds until faults are off")
    parser.add_argument("--per-minute", type=float, default=200, help="executions started")
    parser.add_argument("--every", type=float, default=2.5, help="seconds between two faults")
    parser.add_argument("--kinds", default="", help="only faults whose name contains this")
    parser.add_argument("--replay", type=Path, help="a report of an earlier run: the same blows")
    parser.add_argument("--report", type=Path, help="write everything there, as JSON")
    parser.add_argument("--write", action="store_true", help="write docs/reliability.md")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    plan = Plan(
        options.seed,
        options.seconds,
        options.cycle,
        options.per_minute,
        options.every,
        options.kinds,
    )
    if options.replay is not None:
        plan = report.replayed(options.replay)
    print(f"seed {plan.seed}", file=sys.stderr, flush=True)
    outcome = soak(plan)
    text = report.markdown(outcome, _command(plan))
    if options.report is not None:
        options.report.write_text(json.dumps(report.as_json(outcome), default=str, indent=1))
    if options.write:
        report.write(text)
    print(text)
    return 1 if _is_bad(outcome) else 0


def _leave(*_: object) -> None:
    """Go through every `finally` there is, undisturbed by a second signal."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(143)


def _command(plan: Plan) -> str:
    return f"python -m bench.soak --seconds {plan.seconds:.0f} --seed {plan.seed}"


def _is_bad(outcome: Outcome) -> bool:
    verdict = outcome.verdict
    for violation, times in Counter(verdict.violations).most_common(50):
        print(violation, f"({times} times)" if times > 1 else "", file=sys.stderr)
    return bool(verdict.violations or verdict.lost or verdict.unexpected or verdict.doubled)


if __name__ == "__main__":
    sys.exit(main())

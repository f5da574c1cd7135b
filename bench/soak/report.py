"""A run as JSON, to be replayed, and as the section of docs/reliability.md."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from bench.setting import milliseconds
from bench.soak import nemesis
from bench.soak.cycle import Outcome, Plan

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
ROLES = {"worker": "worker", "queue": "manager", "root": "node"}
BEGIN, END = "<!-- soak: begin -->", "<!-- soak: end -->"


def as_json(outcome: Outcome) -> dict[str, Any]:
    """Return everything that a replay needs, and what was found."""
    plan, verdict = outcome.plan, outcome.verdict
    return {
        "seed": plan.seed,
        "seconds": plan.seconds,
        "cycle_seconds": plan.cycle_seconds,
        "per_minute": plan.per_minute,
        "every": plan.every,
        "conditions": outcome.conditions,
        "blows": [nemesis.as_json(blows) for blows in outcome.blows],
        "found": vars(verdict),
        "faults": outcome.faults,
        "missing": outcome.missing,
        "load": outcome.load,
        "calm": outcome.calm,
        "restarts": outcome.restarts,
    }


def replayed(path: Path) -> Plan:
    """Return the plan of an earlier run."""
    run = json.loads(path.read_text())
    blows = [nemesis.from_json(each) for each in run["blows"]]
    names = ("seed", "seconds", "cycle_seconds", "per_minute", "every")
    return Plan(**{name: run[name] for name in names}, blows=blows)


def _told(seconds: list[float]) -> str:
    """Tell durations on one line."""
    if not seconds:
        return "0"
    took = milliseconds(seconds)
    return (
        f"{len(seconds)}; p50 {took['p50_ms']:.0f} ms, p99 {took['p99_ms']:.0f} ms, "
        f"max {took['max_ms']:.0f} ms"
    )


def markdown(outcome: Outcome, command: str) -> str:
    """Return the section of a run."""
    verdict, plan = outcome.verdict, outcome.plan
    executions = sum(verdict.executions.values())
    conditions = ", ".join(f"{name} {value}" for name, value in outcome.conditions.items())
    rows = {
        "executions (children too)": executions,
        "lost": verdict.lost,
        "unexpected": verdict.unexpected,
        "doubled": verdict.doubled,
        "requests that had no answer": verdict.unanswered,
        "of them in effect all the same": verdict.recovered,
        "bodies begun": verdict.bodies,
        "of them again in one attempt, uncommitted": verdict.repeated,
        **{
            f"bodies hit by the death of their {what}, until they ran again": _told(
                [seconds for killed, seconds in verdict.recoveries if killed == role]
            )
            for role, what in ROLES.items()
        },
        "bodies that ended their own worker, until they ran again": _told(verdict.suicides),
        "writes of those who had lost their claim, refused": verdict.refused,
        "violations of the invariants": len(verdict.violations),
        "seconds from the last fault until all had ended": f"at most {max(outcome.calm)}",
        "restarts of node a, of node b": f"{outcome.restarts['a']}, {outcome.restarts['b']}",
        "requests, asked again": f"{outcome.load['asked']}, {outcome.load['repeated']}",
    }
    lines = [
        (
            f"`{command}`: {plan.seconds:.0f} s of chaos in cycles of {plan.cycle_seconds:.0f} s. "
            f"{conditions}."
        ),
        "",
        _table(("what", "how many"), [(name, str(value)) for name, value in rows.items()]),
        "",
        _table(("fault", "times it hit", "hindered by another"), _faults(outcome)),
        "",
        _table(
            ("executions", "ended"), [(k, str(n)) for k, n in sorted(verdict.executions.items())]
        ),
    ]
    lines += [f"\n{name}: not done, {why}." for name, why in outcome.missing.items()]
    return "\n".join(lines) + "\n"


def write(text: str) -> None:
    """Put a section into the page, in place of the last one."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{after}")


def _faults(outcome: Outcome) -> list[tuple[str, str, str]]:
    hit = Counter(fault["kind"] for fault in outcome.faults if fault["target"])
    hindered = Counter(fault["kind"] for fault in outcome.faults if not fault["target"])
    return [
        (kind, str(hit[kind]), str(hindered[kind]))
        for kind in nemesis.KINDS
        if kind not in outcome.missing
    ]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)

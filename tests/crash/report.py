"""The figures of a sweep as a section of ``docs/reliability.md``, written by a command."""

import os
import platform
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import psycopg

from durable_otp.storage.statements import catalogue
from tests.crash.campaign import Line
from tests.crash.coverage import by_role, incomplete, never
from tests.crash.ground import VERB
from tests.crash.scenarios import TWELVE

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- crash points: begin -->", "<!-- crash points: end -->"


def section(lines: Sequence[Line], dsn: str, left: Mapping[str, Sequence[str]]) -> str:
    """Return the section: the sums, what every scenario had, who said what, what is missing.

    ``left``: the pieces that were not swept to their end, by how they were to be broken.
    """
    bad = [line for line in lines if line["violations"]]
    reached = [line for line in lines if line["reached"]]
    times = sorted(line["at"] for line in lines)
    parts = [
        BEGIN,
        f"Swept from {times[0]} to {times[-1]} on {machine(dsn)}, at {_revisions(lines)}.",
        (
            f"**{len(reached)} crash points, {len(bad)} with a violation.** "
            f"{len(lines) - len(reached)} more were armed and not met, because the statement came "
            "less often than in the run that was counted."
        ),
        _coverage(lines),
        *_left(left),
        _table(_scenario_rows(lines), SCENARIO_HEAD),
        _table(_role_rows(lines), ("Role", "Statements that were crash points")),
        *_violations(bad),
        END,
    ]
    return "\n\n".join(parts)


SCENARIO_HEAD = ("Scenario", "Commit", "K", "Killed", "Reset", "Not met", "Violations", "Slowest")


def put(text: str, page: Path = PAGE) -> None:
    """Replace the section in the page."""
    before = page.read_text()
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    assert pattern.search(before), f"{page} has no place for the crash points"
    page.write_text(pattern.sub(lambda _: text, before))


def machine(dsn: str) -> str:
    """Return where this runs, in a few words."""
    with psycopg.connect(dsn) as connection:
        version = connection.info.server_version // 10000
    cores, load = os.cpu_count(), os.getloadavg()[1]
    python = platform.python_version()
    return f"{cores} cores (load {load:.0f}), PostgreSQL {version}, Python {python}"


def _left(left: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Yield what is to be swept still."""
    if not any(left.values()):
        yield "Every piece was swept to its end."
    for action, names in left.items():
        if names:
            yield f"Not swept to the end with `{action}`: {_code(names)}."


def _revisions(lines: Iterable[Line]) -> str:
    """Return which commits were swept; a + after one tells that files differed from it."""
    found = sorted({line["revision"] for line in lines})
    return f"commit{'s' * (len(found) > 1)} {', '.join(found)}"


def _coverage(lines: Sequence[Line]) -> str:
    total = len(catalogue())
    missing, part = never(lines), set(incomplete(lines))
    part -= set(missing)
    text = (
        f"Of the {total} named statements of the product, {total - len(missing)} were crash points "
        f"({100 * (total - len(missing)) / total:.1f} %), "
        f"{total - len(missing) - len(part)} of them with a kill at all three points."
    )
    if missing:
        text += f" None was: {_code(missing)}."
    if part:
        text += f" Not at all three: {_code(sorted(part))}."
    return text


def _scenario_rows(lines: Iterable[Line]) -> list[Sequence[str]]:
    groups: dict[tuple[str, str], list[Line]] = defaultdict(list)
    for line in lines:
        groups[line["scenario"], line["commit"]].append(line)
    return [
        (
            scenario,
            commit_,
            str(max(line["calls"] for line in group)),
            _count(group, "kill"),
            _count(group, "reset"),
            str(sum(not line["reached"] for line in group)),
            str(sum(bool(line["violations"]) for line in group)),
            f"{max(line['seconds'] for line in group):.1f} s" if commit_ != VERB else "",
        )
        for (scenario, commit_), group in sorted(groups.items(), key=lambda item: _place(item[0]))
    ]


def _place(key: tuple[str, str]) -> tuple[bool, int, str, str]:
    scenario, commit_ = key
    number = TWELVE.index(scenario) if scenario in TWELVE else len(TWELVE)
    return commit_ == VERB, number, scenario, commit_


def _count(group: Iterable[Line], action: str) -> str:
    return str(sum(line["action"] == action and line["reached"] for line in group))


def _role_rows(lines: Sequence[Line]) -> list[Sequence[str]]:
    return [(role, _code(sorted(names))) for role, names in sorted(by_role(lines).items())]


def _violations(bad: Sequence[Line]) -> list[str]:
    return [
        f"- {line['scenario']} ({line['commit']}), {line['action']} of {line['role']} "
        f"{line['point']} {line['statement']} no. {line['occurrence']}: {line['violations'][0]}"
        for line in bad
    ]


def _code(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

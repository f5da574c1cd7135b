"""Which statements of the product were crash points, and which were not."""

from collections import defaultdict
from collections.abc import Iterable

from durable_otp.storage.statements import catalogue
from tests.crash.campaign import Line
from tests.support.chaos import POINTS


def exercised(lines: Iterable[Line]) -> dict[str, set[tuple[str, str]]]:
    """Return for each statement of the catalogue how (action, point) it was broken."""
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in catalogue()}
    for line in lines:
        if line["reached"] and line["statement"] in found:
            found[line["statement"]].add((line["action"], line["point"]))
    return found


def never(lines: Iterable[Line]) -> list[str]:
    """Return the statements that were no crash point at all."""
    return sorted(name for name, ways in exercised(lines).items() if not ways)


def incomplete(lines: Iterable[Line], action: str = "kill") -> list[str]:
    """Return the statements that were not broken at all three points of theirs."""
    wanted = {(action, point) for point in POINTS}
    return sorted(name for name, ways in exercised(lines).items() if not wanted <= ways)


def by_role(lines: Iterable[Line]) -> dict[str, set[str]]:
    """Return the statements that were broken, by who had said them."""
    found: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        if line["reached"]:
            found[line["role"]].add(line["statement"])
    return dict(found)

"""What is wrong with an installation, said in sentences, and the cures that lose nothing.

A cure does what a sibling process of a living node would have done by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from durable_otp.client import cures
from durable_otp.client.cures import Cure, Database
from durable_otp.storage.diagnosis import Ailing, Bounds, ailing, connections_used

MOST_USED = 0.9
"""Of the server's connections; above it, the next restart may find none."""


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        check: Its name.
        count: How many have it.
        message: One sentence.
        remedy: What to do about it.
        examples: The first of them, by id or name.
        curable: Whether a cure is known that loses nothing.
    """

    check: str
    count: int
    message: str
    remedy: str
    examples: tuple[str, ...] = ()
    curable: bool = False


@dataclass(frozen=True)
class _Check:
    statement: str
    one: str
    many: str
    remedy: str
    cure: Cure | None = None

    def finding(self, found: Ailing) -> Finding:
        text = self.one if found.count == 1 else self.many.format(found.count)
        return Finding(
            self.statement, found.count, text, self.remedy, found.examples, self.cure is not None
        )


CHECKS = (
    _Check(
        "silent_managers",
        "A queue manager is silent and still holds claims.",
        "{} queue managers are silent and still hold claims.",
        "A living node takes them back within node_timeout; start one, or use --fix.",
        cures.take_back_from_silent,
    ),
    _Check(
        "stale_claims",
        "A claim was not refreshed for longer than stale_lock_timeout.",
        "{} claims were not refreshed for longer than stale_lock_timeout.",
        "A living node takes them back; start one, or use --fix.",
        cures.take_back_stale,
    ),
    _Check(
        "zombies",
        "An execution waits for nothing: neither a due time nor an open wait can wake it.",
        "{} executions wait for nothing: neither a due time nor an open wait can wake them.",
        "--fix fails them with the error zombie_detected; `retry ID` lets one go on.",
        cures.fail_zombies,
    ),
    _Check(
        "overdue_sleepers",
        "A sleep is over and nobody has woken its execution.",
        "{} sleeps are over and nobody has woken their executions.",
        "A living node's sleep waker does it; start one, or use --fix.",
        cures.wake_sleepers,
    ),
    _Check(
        "overdue_waits",
        "A wait's timeout has passed and nobody has ended it.",
        "{} waits' timeouts have passed and nobody has ended them.",
        "A living node's wait_timeouts does it; start one, or use --fix.",
        cures.end_overdue_waits,
    ),
    _Check(
        "overdue_deadlines",
        "An execution is past its workflow's timeout.",
        "{} executions are past their workflows' timeouts.",
        "A living node's wait_timeouts ends them; start one, or use --fix.",
        cures.end_overdue_executions,
    ),
    _Check(
        "unserved_queues",
        "A queue has executions that are due, and no living node runs it.",
        "{} queues have executions that are due, and no living node runs them.",
        "Start a node whose configuration has [queues.<name>].",
    ),
    _Check(
        "disabled_schedules",
        "A schedule was disabled because its executions kept failing.",
        "{} schedules were disabled because their executions kept failing.",
        "See its last_error in `schedules`, then `schedules enable NAME`.",
    ),
    _Check(
        "failing_schedules",
        "A schedule's last executions have failed.",
        "The last executions of {} schedules have failed.",
        "See its last_error in `schedules`.",
    ),
    _Check(
        "late_schedules",
        "A schedule's slot has passed and nobody has started it.",
        "The slots of {} schedules have passed and nobody has started them.",
        "A living node's scheduler does it; start one.",
    ),
    _Check(
        "long_transactions",
        "A transaction has been open for long and keeps dead rows from being removed.",
        "{} transactions have been open for long and keep dead rows from being removed.",
        "End it where it was begun, or with pg_terminate_backend(pid).",
    ),
    _Check(
        "dead_rows",
        "Most of a table is dead rows.",
        "Most of {} tables is dead rows.",
        "Let autovacuum run more often on it, or VACUUM it now.",
    ),
    _Check(
        "invalid_indexes",
        "An index is invalid and serves nobody.",
        "{} indexes are invalid and serve nobody.",
        "REINDEX INDEX CONCURRENTLY it.",
    ),
)


def examine(database: Database, bounds: Bounds, served: Sequence[str]) -> list[Finding]:
    """Return everything that is wrong; ``served`` are the queues that living nodes run. Blocks."""
    found = [(each, database.run(ailing, each.statement, bounds, served)) for each in CHECKS]
    findings = [check.finding(ill) for check, ill in found if ill is not None]
    used, allowed = database.run(connections_used)
    if used > MOST_USED * allowed:
        text = f"{used} of the server's {allowed} connections are open."
        remedy = "Raise max_connections, or run fewer workers."
        findings.append(Finding("connections", used, text, remedy))
    return findings


def cure(database: Database, finding: Finding, bounds: Bounds) -> int:
    """Cure what was found, as far as it still is; return how many were cured. Blocks."""
    known = next((each.cure for each in CHECKS if each.statement == finding.check), None)
    return 0 if known is None else known(database, bounds)

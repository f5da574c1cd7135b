"""What the demo says at its end, asked of the database and of nothing else."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from durable_otp.cli.demo_stage import Stage
from durable_otp.cli.target import Target
from durable_otp.storage.overview import (
    JournalTotals,
    Recovery,
    journal_totals,
    recoveries,
    statuses_of,
)
from durable_otp.workflow.state import FINAL, State


@dataclass(frozen=True)
class Report:
    """What came of a run."""

    started: int
    counts: Mapping[str, int]
    undone: int
    journal: JournalTotals
    recoveries: list[Recovery]
    kills: int
    answers: int

    @property
    def lost(self) -> int:
        """How many executions that were started are not there any more."""
        return self.started - sum(self.counts.values())

    @property
    def unfinished(self) -> int:
        """How many had not ended."""
        return sum(count for status, count in self.counts.items() if status not in FINAL)

    @property
    def completed(self) -> int:
        """How many completed."""
        return self.counts.get(State.COMPLETED, 0)

    @property
    def failed(self) -> int:
        """How many ended as nobody wanted: what was told to fail, and is undone, ended well."""
        ended = sum(count for status, count in self.counts.items() if status in FINAL)
        return ended - self.completed - self.undone

    @property
    def is_good(self) -> bool:
        """Whether the promise was kept: nothing lost, nothing failed, nothing run twice."""
        return not (self.lost or self.failed or self.journal.repeated)

    def lines(self) -> list[str]:
        """Return the summary."""
        journal = self.journal
        ends = (
            f"{self.started} started, {self.completed} completed, "
            f"{self.undone} told to fail and undone, {self.failed} failed, "
            f"{self.unfinished} unfinished, {self.lost} lost"
        )
        attempts = f"{journal.completed} completed; {journal.failed} failed, retried or undone"
        deaths = f"{journal.crashed} in a step; {self.kills} by this demo's kill -9"
        return [
            f"executions  {ends}",
            f"steps       {attempts}",
            f"waits       {self.answers} inputs given and events sent to what waited for them",
            f"deaths      {deaths}",
            f"recovery    {self._recovery()}",
            f"run twice   {journal.repeated} steps ran again after they had been completed",
        ]

    def _recovery(self) -> str:
        times = [each.seconds * 1000 for each in self.recoveries if each.seconds is not None]
        if not times:
            return "no step had to be run again"
        return (
            f"{len(times)} of {len(self.recoveries)} steps ran again: median {median(times):.0f} "
            f"ms, longest {max(times):.0f} ms after the death was recorded"
        )


def report(stage: Stage, target: Target) -> Report:
    """Ask the database what came of a run."""
    statuses = target.run(statuses_of, stage.started)
    return Report(
        started=len(stage.started),
        counts=Counter(statuses.values()),
        undone=sum(statuses.get(id_) == State.COMPENSATED for id_ in stage.doomed),
        journal=target.run(journal_totals),
        recoveries=target.run(recoveries),
        kills=len(stage.kills),
        answers=stage.answers,
    )

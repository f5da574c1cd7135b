"""Breaking a run at one point after the other, and comparing each with a run that nothing met."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.crash.points import SIBLINGS, Counts, CrashPoint, counted, points_of
from tests.crash.scenarios import Scenario
from tests.crash.site import Ending, Site
from tests.support.ledger import violations
from tests.support.ledger.invariants_steps import the_answer_is_the_same
from tests.support.waiting import wait_until

ROLES = ("worker", "manager", *SIBLINGS)
ACTIONS = ("kill", "reset")
PATIENCE = 1.0
"""How long a sibling has to reach its statement after the work is done: it looks every 0.3 s."""
REBIRTH = {"manager": r"^durable:manager default\b"}


@dataclass(frozen=True)
class Result:
    """What became of one crash point."""

    scenario: str
    commit: str
    action: str
    point: CrashPoint
    reached: bool
    violations: tuple[str, ...]
    seconds: float

    def public(self) -> dict[str, Any]:
        """Return it as JSON."""
        point = self.point
        return {
            "scenario": self.scenario,
            "commit": self.commit,
            "action": self.action,
            "role": point.role,
            "statement": point.statement,
            "occurrence": point.occurrence,
            "point": point.point,
            "reached": self.reached,
            "violations": list(self.violations),
            "seconds": round(self.seconds, 3),
        }


@dataclass
class Sweep:
    """One scenario on one site: its undisturbed run, and then each of its crash points.

    Args:
        site: Where it runs.
        scenario: What runs.
        commit: How its queues commit, as it is reported.
        reborn: A role that is killed before each run, so that what it does when it begins is swept
            as well; and with it what happens when something dies in the middle of a recovery.
    """

    site: Site
    scenario: Scenario
    commit: str
    reborn: str | None = None

    def __post_init__(self) -> None:
        self.calm, self.counts = self._undisturbed()

    @property
    def name(self) -> str:
        """What this sweep is called in a report."""
        return f"{self.scenario.name}, {self.reborn} anew" if self.reborn else self.scenario.name

    def points(self, roles: Iterable[str] = ROLES) -> list[CrashPoint]:
        """Return the crash points of the undisturbed run."""
        return list(points_of(self.counts, [self.reborn] if self.reborn else roles))

    def results(self, points: Iterable[CrashPoint], action: str) -> Iterator[Result]:
        """Break the run at each of these points."""
        for point in points:
            yield self.broken(point, action)

    def broken(self, point: CrashPoint, action: str) -> Result:
        """Break the run at one point and judge how it ends."""
        proxy, about = self.site.proxy, (self.scenario_name, self.commit, action, point)
        proxy.disarm()
        if self.reborn:
            self._kill_now(self.reborn)
        rule = proxy.arm(k=point.occurrence, point=point.point, action=action, match=point.match)
        self.site.ledger.fault(action, str(point))

        def fired() -> bool:
            return bool(proxy.rule(id=rule["id"])["fired"])

        patience = PATIENCE if point.role != "worker" else 0.0
        try:
            ending = self.site.run(self.scenario, fired, patience)
        except AssertionError as error:
            return Result(*about, fired(), (str(error),), 0.0)
        found = tuple(self._wrong(ending, action, point))
        state = proxy.rule(id=rule["id"])
        proxy.disarm()
        if state["fired"] and action == "kill" and state.get("kill") != "sent":
            found += (f"the kill did not happen: {state}",)
        return Result(*about, bool(state["fired"]), found, ending.seconds)

    @property
    def scenario_name(self) -> str:
        """The name that results carry."""
        return self.name

    def _undisturbed(self) -> tuple[Ending, Counts]:
        """Run once to warm up, then once to be counted; also what comes a moment later."""
        self.site.run(self.scenario)
        if self.reborn:
            self._kill_now(self.reborn)
        seen = int(self.site.proxy.statements(since=1 << 60)["seq"])
        ending = self.site.run(self.scenario, lambda: False, PATIENCE)
        found = violations(ending.record)
        assert not found, f"{self.name} violates something without any fault: {found}"
        statements = self.site.proxy.statements(since=seen, brief=True)["statements"]
        return ending, counted(statements)

    def _kill_now(self, role: str) -> None:
        """Kill a role's process at the next thing it says."""
        match = {"app": REBIRTH.get(role, rf"^durable:{role}\b")}
        rule = self.site.proxy.arm(k=1, point="before", action="kill", match=match)
        self.site.ledger.fault("kill", role)
        wait_until(lambda: self.site.proxy.rule(id=rule["id"])["fired"], what=f"a death of {role}")

    def _wrong(self, ending: Ending, action: str, point: CrashPoint) -> Iterator[str]:
        """Yield what is not as it was, or as it must be."""
        yield from violations(ending.record)
        if ending.answers.keys() != self.calm.answers.keys():
            yield f"there were {sorted(ending.answers)}, and are {sorted(self.calm.answers)} at rest"
            return
        for name, expected in self.calm.answers.items():
            for each in the_answer_is_the_same(expected, ending.answers[name]):
                yield f"{each} ({name})"
        deaths = (action == "kill") + (self.reborn is not None)
        for body, count in ending.begun.items():
            if count > self.calm.begun[body] + deaths:
                yield f"I-7 {body} began {count} times, and {self.calm.begun[body]} at rest"
        most = len(ending.answers) * deaths
        if point.role not in ("worker", "manager"):
            most = 0
        if ending.blamed > most:
            yield f"{ending.blamed} crashes and interruptions were counted, and {most} are possible"


Progress = Callable[[Result], None]

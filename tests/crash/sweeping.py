"""Breaking a run at one point after the other, and comparing each with a run that nothing met."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tests.crash.points import SIBLINGS, Counts, CrashPoint, Deciding, counted, deciding, points_of
from tests.crash.scenarios import Scenario
from tests.crash.site import Ending, Site
from tests.support.ledger import violations
from tests.support.ledger.invariants_steps import the_answer_is_the_same
from tests.support.waiting import wait_until

ROLES = ("worker", "manager", *SIBLINGS)
ACTIONS = ("kill", "reset")
PATIENCE = 1.5
"""How long a sibling has to reach its statement after the work is done: it looks every 0.3 s, and
shows its life every second."""
LONGEST_REPEAT = 15.0
"""How long a role may take to ask what became of the statement whose answer it has lost."""
MAX_CRASHES = 5
TWICE = 2
"""No statement comes more often than this within one round, but for these."""
OFTEN = ("BEGIN", "COMMIT", "session")
LIKELY = 2
"""Later occurrences of a statement that comes round and round are not waited for."""
ANYTIME = (*OFTEN, "beat_manager", "heartbeat_many", "predecessors", "queue_settings")
"""What a role says now and then, and behind each new connection."""
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


def was_broken(rule: dict[str, Any]) -> bool:
    """Return whether a rule has sprung, and hit somebody if it was to kill."""
    return bool(rule["fired"]) and (rule["action"] != "kill" or rule.get("kill") == "sent")


@dataclass
class Sweep:
    """One scenario on one site: its undisturbed run, and then each of its crash points.

    Args:
        site: Where it runs.
        scenario: What runs.
        commit: How its queues commit, as it is reported.
        reborn: A role that is killed before each run, so that what it does when it begins is swept
            as well; and with it what happens when something dies in the middle of a recovery.
        first: A statement whose answer is lost in each run, so that what repeats it is swept; a
            name before it is that of the statement behind which it comes. The points are those
            that a run without this has not.
    """

    site: Site
    scenario: Scenario
    commit: str
    reborn: str | None = None
    first: str | None = None

    def __post_init__(self) -> None:
        self.usual: set[str] = set()
        self.calm, self.counts, self.deciding = self._undisturbed()
        if self.first:
            self.usual = {name for _, name in self.counts}
            _, found, self.deciding = self._undisturbed(is_broken=True)
            self.counts = self._unusual(found)

    @property
    def name(self) -> str:
        """What this sweep is called in a report."""
        if self.first:
            return f"{self.scenario.name}, the answer to {self.first} lost"
        return f"{self.scenario.name}, {self.reborn} anew" if self.reborn else self.scenario.name

    def points(self, roles: Iterable[str] | None = None) -> list[CrashPoint]:
        """Return the crash points of the undisturbed run; siblings know no batches."""
        found = [r for r in self.scenario.roles if self.commit == "each" or r not in SIBLINGS]
        swept = [self.reborn] if self.reborn else roles or found
        return list(points_of(self.counts, swept))

    def results(self, points: Iterable[CrashPoint], action: str) -> Iterator[Result]:
        """Break the run at each of these points."""
        for point in points:
            result = self.broken(point, action)
            if not result.reached and not result.violations:
                result = self.broken(point, action)  # chance may have had it that nothing broke
            yield result

    def broken(self, point: CrashPoint, action: str) -> Result:
        """Break the run at one point and judge how it ends."""
        proxy, about = self.site.proxy, (self.name, self.commit, action, point)
        proxy.disarm()
        self._lose_the_first()
        where = {"match": point.match, "newer": self.reborn is not None}
        rule = proxy.arm(k=point.occurrence, point=point.point, action=action, **where)
        if self.reborn:
            self._kill_now(self.reborn)
        self.site.ledger.fault(action, str(point))

        def fired() -> bool:
            return was_broken(proxy.rule(id=rule["id"]))

        is_awaited = self.first or (point.role != "worker" and point.occurrence <= LIKELY)
        patience = PATIENCE if is_awaited else 0.0
        try:
            ending = self.site.run(self.scenario, fired, patience)
        except AssertionError as error:
            return Result(*about, fired(), (str(error),), 0.0)
        found = tuple(self._wrong(ending, action, point))
        state = proxy.rule(id=rule["id"])
        proxy.disarm()
        return Result(*about, was_broken(state), found, ending.seconds)

    def _lose_the_first(self) -> None:
        """Let the answer to the `first` statement be lost, whatever else breaks."""
        if self.first:
            *behind, name = self.first.split()
            match = {"name": f"^{name}$", "app": r"^durable:(worker|manager)\b"}
            match |= {"behind": f"^{behind[0]}$"} if behind else {}
            self.site.proxy.arm(k=1, point="sent", action="reset", match=match)

    def _unusual(self, counts: Counts) -> Counts:
        """Return what only a run has that loses the first answer."""
        return Counts({key: n for key, n in counts.items() if key[1] not in self.usual})

    def _has_asked(self, since: int) -> bool:
        """Return whether somebody has said what only a lost answer has them say."""
        roles = self.scenario.roles
        heard = self._unusual(self._heard(since))
        return any(role in roles and name not in ANYTIME for role, name in heard)

    def _undisturbed(self, is_broken: bool = False) -> tuple[Ending, Counts, Deciding]:
        """Run once to warm up, then once to be counted; also what comes a moment later."""
        self.site.run(self.scenario)
        if is_broken:
            self.site.ledger.fault("reset", str(self.first))
            self._lose_the_first()
        born = self._kill_now(self.reborn) if self.reborn else 0
        seen = int(self.site.proxy.statements(since=1 << 60)["seq"])
        ending = self.site.run(self.scenario)
        found = violations(ending.record, max_crashes=MAX_CRASHES)
        assert not found, f"{self.name} violates something without any fault: {found}"
        statements = self.site.proxy.statements(since=seen, brief=True)["statements"]
        if set(self.scenario.roles) & set(SIBLINGS) or self.reborn:
            wait_until(lambda: self._rounds(seen), what="a round of every sibling")
            statements = self.site.proxy.statements(since=seen, brief=True)["statements"]
        elif is_broken:
            with suppress(AssertionError):  # some look without a statement of their own
                wait_until(lambda: self._has_asked(seen), timeout=LONGEST_REPEAT)
            statements = self.site.proxy.statements(since=seen, brief=True)["statements"]
        said = self._said_since(born) if born else statements
        return ending, counted(said), deciding(said)

    def _said_since(self, birth: int) -> list[dict[str, Any]]:
        """Return what was said over connections that were opened after a number was given."""
        every = self.site.proxy.statements(brief=True)["statements"]
        return [each for each in every if each["conn"] > birth]

    def _rounds(self, since: int) -> bool:
        """Return whether every sibling that is swept, and who began anew, has come round since."""
        if self.reborn:
            names = {
                name: n for (role, name), n in self._heard(since).items() if role == self.reborn
            }
            return any(n > TWICE and name not in OFTEN for name, n in names.items())
        said = {role for role, _ in self._heard(since)}
        return set(self.scenario.roles) & set(SIBLINGS) <= said

    def _heard(self, since: int) -> Counts:
        return counted(self.site.proxy.statements(since=since, brief=True)["statements"])

    def _kill_now(self, role: str) -> int:
        """Kill a role's process at the next thing it says; return a number for that moment."""
        match = {"app": REBIRTH.get(role, rf"^durable:{role}\b")}
        rule = self.site.proxy.arm(k=1, point="before", action="kill", match=match)
        self.site.ledger.fault("kill", role)
        wait_until(lambda: self.site.proxy.rule(id=rule["id"])["fired"], what=f"a death of {role}")
        return int(rule["id"])

    def _wrong(self, ending: Ending, action: str, point: CrashPoint) -> Iterator[str]:
        """Yield what is not as it was, or as it must be."""
        yield from violations(ending.record, without=("I-21",), max_crashes=MAX_CRASHES)
        if ending.answers.keys() != self.calm.answers.keys():
            yield f"I-10 there are {sorted(ending.answers)}, not {sorted(self.calm.answers)}"
            return
        for name, expected in self.calm.answers.items():
            for each in the_answer_is_the_same(expected, ending.answers[name]):
                yield f"{each} ({name})"
        deaths = (action == "kill") + (self.reborn is not None)
        for body, count in ending.begun.items():
            step = body.rpartition(" ")[2].partition(":")[0]
            begins = 2 if step in self.scenario.times_out else 1
            if count > self.calm.begun[body] + deaths * begins:
                yield f"I-7 {body} began {count} times, and {self.calm.begun[body]} at rest"
        yield from self._blame(ending, action, point)

    def _blame(self, ending: Ending, action: str, point: CrashPoint) -> Iterator[str]:
        """A worker's death is a crash, a manager's an interruption, and all else is neither."""
        kills = {self.reborn: 1} if self.reborn else {}
        if action == "kill":
            kills[point.role] = kills.get(point.role, 0) + 1
        family = len(ending.answers)
        for name, role in (("crashes", "worker"), ("interruptions", "manager")):
            counted_now, before = getattr(ending, name), getattr(self.calm, name)
            most = before + family * kills.get(role, 0)
            if counted_now > most:
                yield f"{name}: {counted_now} were counted, and at most {most} have happened"

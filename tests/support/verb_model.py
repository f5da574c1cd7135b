"""What the verbs do to executions, in memory: the model that a state machine holds storage to.

Time is counted in seconds from the beginning. What is set to happen does so half a minute beside
what the clock is moved by, so that the seconds that the test itself takes make no difference.
"""

from dataclasses import dataclass, field

from durable_otp.workflow.state import FINAL, State

MAX_CRASHES = 3
MAX_INTERRUPTIONS = 3
BACKOFF = 30.0
HELD = (State.RUNNING, State.COMPENSATING)
LIVE = (State.PENDING, State.RUNNING, State.WAITING)


@dataclass
class OpenWait:
    """A wait for an event that has not been answered."""

    name: str
    due: float | None


@dataclass
class Row:
    """An execution as the verbs have left it."""

    id: str
    number: int
    priority: int
    due: float | None
    timeout: float | None
    begun_at: float
    status: State = State.PENDING
    token: str | None = None
    holder: str | None = None
    beat: float = 0.0
    turn: int = 0
    """The order in which rows that are due at one time became so."""
    steps: int = 0
    attempts: int = 0
    asked: int = 0
    """How many waits the step that comes next has asked for."""
    wait: OpenWait | None = None
    mail: list[str] = field(default_factory=list)
    to_undo: int = 0
    gave_up: int = 0
    interruptions: int = 0
    crashes: int = 0
    streak: int = 0
    crashed_at: int = -1

    @property
    def step(self) -> str:
        """The path of the step that comes next."""
        return f"s{self.steps + 1}"

    @property
    def deadline(self) -> float | None:
        """When it must have ended."""
        return None if self.timeout is None else self.begun_at + self.timeout

    def seen(self) -> dict[str, object]:
        """Return what the database shows of it."""
        return {
            "status": str(self.status),
            "token": self.token,
            "holder": self.holder,
            "steps": self.steps,
            "mail": sorted(self.mail),
            "waits": [] if self.wait is None else [self.wait.name],
            "interruptions": self.interruptions,
            "crashes": self.crashes,
        }


class Model:
    """All executions, and every verb as a method that says whether it had an effect."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.now = 0.0
        self._turns = 0

    def holds(self, row: Row, token: str | None, *statuses: State) -> bool:
        """Return whether a token is the row's, and the row in one of the statuses."""
        return token is not None and row.token == token and row.status in statuses

    def start(self, id_: str, priority: int, delay: float, timeout: float | None) -> Row:
        row = Row(id_, len(self.rows), priority, None, timeout, self.now)
        self._become_due(row, delay)
        self.rows.append(row)
        return row

    def claimable(self) -> list[Row]:
        """Return what a claim takes, in its order."""
        found = [
            row
            for row in self.rows
            if row.status in (State.PENDING, State.COMPENSATING)
            and row.token is None
            and row.due is not None
            and row.due <= self.now
        ]
        return sorted(found, key=lambda row: (-row.priority, row.due, row.turn))

    def claim(self, row: Row, token: str, holder: str) -> None:
        if row.status is State.PENDING:
            row.status = State.RUNNING
        row.token, row.holder, row.beat = token, holder, self.now

    def checkpoint(self, row: Row, *, can_be_undone: bool) -> None:
        row.steps, row.attempts, row.asked, row.wait = row.steps + 1, 0, 0, None
        row.to_undo += can_be_undone

    def complete(self, row: Row) -> None:
        row.steps += 1
        self._end(row, State.COMPLETED)

    def fail(self, row: Row) -> None:
        self._let_go(row)
        row.wait = None
        row.status = State.COMPENSATING if row.to_undo else State.FAILED
        if row.status is State.COMPENSATING:
            self._become_due(row)

    def give_back(self, row: Row, delay: float = 0.0) -> None:
        """Let go of a claim; it is due again after a while."""
        self.release(row)
        self._become_due(row, delay)

    def release(self, row: Row) -> None:
        """Let go of a claim; it keeps its turn."""
        self._let_go(row)
        if row.status is State.RUNNING:
            row.status = State.PENDING

    def sleep(self, row: Row, seconds: float) -> None:
        self._let_go(row)
        row.status, row.wait, row.asked = State.WAITING, None, row.asked + 1
        self._become_due(row, seconds)

    def wait_for(self, row: Row, name: str, timeout: float | None) -> None:
        self._let_go(row)
        row.status, row.due, row.asked = State.WAITING, None, row.asked + 1
        row.wait = OpenWait(name, None if timeout is None else self.now + timeout)
        self._deliver(row)

    def send(self, row: Row, name: str) -> bool:
        if row.status not in LIVE:
            return False
        row.mail.append(name)
        if row.status is State.WAITING:
            self._deliver(row)
        return True

    def cancel(self, row: Row) -> bool:
        if row.status not in LIVE:
            return False
        self._end(row, State.CANCELLED)
        return True

    def retry(self, row: Row) -> bool:
        if row.status not in (State.FAILED, State.CANCELLED, State.COMPENSATION_FAILED):
            return False
        undoes = row.status is State.COMPENSATION_FAILED
        row.status = State.COMPENSATING if undoes else State.PENDING
        row.to_undo, row.gave_up = row.to_undo + row.gave_up, 0
        row.begun_at = self.now
        row.interruptions, row.streak, row.crashed_at = 0, 0, -1
        self._become_due(row)
        return True

    def wake_sleepers(self) -> int:
        found = [row for row in self.rows if row.status is State.WAITING and self._is_due(row.due)]
        for row in found:
            row.status = State.PENDING
        return len(found)

    def end_waits(self) -> int:
        found = [
            row
            for row in self.rows
            if row.status is State.WAITING and row.wait is not None and self._is_due(row.wait.due)
        ]
        for row in found:
            row.status, row.wait = State.PENDING, None
            self._become_due(row)
        return len(found)

    def end_overdue(self) -> int:
        found = [row for row in self.rows if row.status in LIVE and self._is_due(row.deadline)]
        for row in found:
            self.fail(row)
        return len(found)

    def recover(self, rows: list[Row]) -> None:
        """Take back the claims of rows, in the order in which the database does."""
        for row in rows:
            row.interruptions += 1
            if row.status is State.RUNNING and row.interruptions >= MAX_INTERRUPTIONS:
                self.fail(row)
            elif row.interruptions == 1:
                self.release(row)
            else:
                self.give_back(row)

    def crash(self, row: Row, again: str) -> None:
        """Count the death of a running execution's worker."""
        row.streak = row.streak + 1 if row.crashed_at == row.steps else 1
        row.crashes, row.crashed_at = row.crashes + 1, row.steps
        row.attempts += 1
        if row.streak >= MAX_CRASHES:
            self.fail(row)
        elif row.streak == 1:
            row.token, row.beat = again, self.now
        else:
            self.give_back(row, BACKOFF)

    def undo(self, row: Row, *, gave_up: bool) -> None:
        row.to_undo -= 1
        row.gave_up += gave_up

    def end_compensation(self, row: Row) -> None:
        self._end(row, State.COMPENSATION_FAILED if row.gave_up else State.COMPENSATED)

    def is_final(self, row: Row) -> bool:
        return row.status in FINAL

    def _end(self, row: Row, status: State) -> None:
        self._let_go(row)
        row.status, row.wait = status, None

    def _deliver(self, row: Row) -> None:
        if row.wait is not None and row.wait.name in row.mail:
            row.mail.remove(row.wait.name)
            row.wait, row.status = None, State.PENDING
            self._become_due(row)

    def _let_go(self, row: Row) -> None:
        row.token = row.holder = None

    def _become_due(self, row: Row, delay: float = 0.0) -> None:
        self._turns += 1
        row.due, row.turn = self.now + delay, self._turns

    def _is_due(self, instant: float | None) -> bool:
        return instant is not None and instant <= self.now

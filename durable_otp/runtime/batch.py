"""A manager's commits for its workers: finished steps of many executions in one statement.

While one batch is being written the next one gathers, so that a busy queue makes large ones and an
idle one hardly waits. A step that was handed over here survives its worker; it is committed before
anything else is decided about its execution.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from durable_otp.errors import DatabaseUnreachable
from durable_otp.events import emit
from durable_otp.otp.link import Message
from durable_otp.runtime.held import Held
from durable_otp.storage.batch import Settled, StepRow, Verdict, settle_batch
from durable_otp.storage.families import children_ended

LARGEST = 500
LINGER_SECONDS = 0.003
AGAIN_AFTER_SECONDS = 0.05


class Office(Protocol):
    """What a batch needs of its manager."""

    async def run_operation(self, operation: Callable[..., Any], *args: Any) -> Any:
        """Run a storage operation once; raises DatabaseUnreachable."""


class Batch:
    """Gathers rows and writes them.

    ``on_settled(held, is_ours)`` hears of each execution, ``on_refused(held, error)`` of one whose
    row PostgreSQL will not take.
    """

    def __init__(
        self,
        office: Office,
        on_settled: Callable[[Held, bool], None],
        on_refused: Callable[[Held, Exception], None],
    ) -> None:
        self._office = office
        self._on_settled = on_settled
        self._on_refused = on_refused
        self._is_careful = False
        self._rows: list[tuple[Held, StepRow]] = []
        self._under_way: dict[Held, int] = {}
        self._waiting: dict[Held, list[asyncio.Future[None]]] = {}
        self._gathered = asyncio.Event()

    def add(self, held: Held, message: Message) -> None:
        """Take a finished step over from its worker."""
        fields = {key: message.fields[key] for key in ("step_id", "is_last", "result")}
        row = StepRow(held.claim.id, held.lock_token, text=message.body, **fields)
        self._rows.append((held, row))
        self._under_way[held] = self._under_way.get(held, 0) + 1
        self._gathered.set()

    def is_under_way(self, held: Held) -> bool:
        """Whether there is something of an execution that is not committed yet."""
        return held in self._under_way

    @property
    def executions(self) -> list[Held]:
        """Those with something that is not committed yet."""
        return list(self._under_way)

    async def settled(self, held: Held) -> None:
        """Return when everything of an execution is committed, or never will be."""
        while held in self._under_way:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(held, []).append(future)
            await future

    async def write_for_ever(self) -> None:
        """Write what is gathered, batch after batch."""
        while True:
            await self._gathered.wait()
            await asyncio.sleep(LINGER_SECONDS)
            try:
                await self._write()
            except DatabaseUnreachable as error:
                emit("batch_not_written", rows=len(self._rows), reason=str(error))
                await asyncio.sleep(AGAIN_AFTER_SECONDS)

    async def _write(self) -> None:
        """Write one batch; what is busy stays for the next."""
        rows = self._next()
        if not rows:
            return
        try:
            settled: Settled = await self._office.run_operation(
                settle_batch, [row for _, row in rows]
            )
        except DatabaseUnreachable:
            raise
        except Exception as error:  # noqa: BLE001 - one row that is refused must not stop the others
            self._find_the_refused(rows, error)
            return
        busy = [each for each in rows if _verdict(settled, each[0]) is Verdict.BUSY]
        self._rows[: len(rows)] = busy
        self._follow(settled, rows)
        if settled.parents:
            await self._tell(settled.parents)
        if busy:
            await asyncio.sleep(AGAIN_AFTER_SECONDS)
        elif not self._rows:
            self._gathered.clear()

    def _next(self) -> list[tuple[Held, StepRow]]:
        """Return what is to be written together: all, or one execution's that may be refused."""
        if not self._is_careful:
            return self._rows[:LARGEST]
        first = self._rows[0][0]
        count = next((n for n, row in enumerate(self._rows) if row[0] is not first), None)
        return self._rows[:count]

    def _find_the_refused(self, rows: list[tuple[Held, StepRow]], error: Exception) -> None:
        """Write one execution at a time from here on, until the one that is refused is alone."""
        refused = rows[0][0]
        if any(held is not refused for held, _ in rows):
            self._is_careful = True
            return
        self._is_careful = False
        self._rows = [each for each in self._rows if each[0] is not refused]
        self._under_way.pop(refused, None)
        self._let_go(refused)
        self._on_refused(refused, error)

    def _follow(self, settled: Settled, rows: list[tuple[Held, StepRow]]) -> None:
        for held, _ in rows:
            verdict = _verdict(settled, held)
            if verdict is not Verdict.BUSY:
                self._written(held, is_ours=verdict is Verdict.SETTLED)

    def _written(self, held: Held, *, is_ours: bool) -> None:
        self._under_way[held] -= 1
        if self._under_way[held]:
            return
        del self._under_way[held]
        self._let_go(held)
        self._on_settled(held, is_ours)

    def _let_go(self, held: Held) -> None:
        """Let those go on who have waited for an execution's rows."""
        for future in self._waiting.pop(held, ()):
            if not future.done():
                future.set_result(None)

    async def _tell(self, parents: tuple[str, ...]) -> None:
        """Tell the parents of children that have ended; if that fails, they are found later."""
        try:
            await self._office.run_operation(children_ended, parents)
        except DatabaseUnreachable as error:
            emit("parents_not_told", count=len(parents), reason=str(error))


def _verdict(settled: Settled, held: Held) -> Verdict:
    return settled.verdicts.get((held.claim.id, held.lock_token), Verdict.LOST)

"""The process that the engine runs in when there is none but the test's: it skips, never waits."""

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from durable_otp.engine.host import Begun
from durable_otp.engine.outcome import AttemptEnd
from durable_otp.errors import StepInterrupted
from durable_otp.testing import upkeep
from durable_otp.testing.capture import Capture
from durable_otp.testing.known import KnownWorkflows
from durable_otp.testing.ledger import Ledger
from durable_otp.workflow.definition import Definition
from durable_otp.workflow.suspension import Suspension

OF_A_STEP = (
    Exception,
    Suspension,
    StepInterrupted,
    SystemExit,
    GeneratorExit,
    BaseExceptionGroup,
    asyncio.CancelledError,
)
"""What a body may raise. Anything else is meant for the test: Ctrl-C, or ``pytest.skip()``."""


class InlineHost:
    """Implements `engine.host.Host`. No timeout of a step is enforced: nobody could."""

    interrupted = False

    def __init__(
        self, ledger: Ledger, known: KnownWorkflows, stop_before_step: Callable[[], bool]
    ) -> None:
        self._ledger = ledger
        self._known = known
        self._stop_before_step = stop_before_step
        self._capture = Capture()
        self._meant_for_the_test: BaseException | None = None

    def check(self) -> None:
        """Raise what a body has raised that was not meant for the engine."""
        error, self._meant_for_the_test = self._meant_for_the_test, None
        if error is not None:
            raise error

    @property
    def stopping(self) -> bool:
        """Whether the step that comes next is not to be run."""
        return self._meant_for_the_test is not None or self._stop_before_step()

    def now(self) -> datetime:
        """Return the time of the executions."""
        return self._ledger.now

    def find_workflow(self, name: str) -> tuple[Mapping[str, Any], Definition | None]:
        """Return a workflow's published form and its definition.

        Raises:
            WorkflowNotFound: It is not known to the workflow under test.
        """
        definition = self._known.named(name)
        return definition.description(), definition

    def begun(self, begun: Begun) -> None:
        """Take no notice: nobody settles an attempt from outside."""

    def ended(self, end: AttemptEnd) -> None:
        """Take no notice."""

    def progress(self) -> None:
        """Take no notice."""

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Keep what the body writes, and what it raises for the test."""
        try:
            with self._capture.listening():
                yield
        except OF_A_STEP:
            raise
        except BaseException as error:
            self._meant_for_the_test = error
            raise

    def pause(self, seconds: float) -> bool:
        """Skip the time before the next attempt."""
        upkeep.skip_to(self._ledger, self._ledger.now + timedelta(seconds=seconds))
        return True

    def start_capture(self) -> None:
        """Let what is written from here on belong to the attempt that begins."""
        self._capture.start()

    def captured(self) -> Sequence[Mapping[str, Any]]:
        """Return what the attempt has written."""
        return self._capture.entries()

    def used(self) -> None:
        """Measure nothing: the process is the test's."""

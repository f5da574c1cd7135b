"""The step that runs now, for code deep inside it.

A worker runs one step at a time, so the current one is a fact of the process: a module global,
which the step's helper threads see too (a context variable would not reach them). A process whose
threads run a step each says so once (`share_process`), and the current one is then a fact of the
context: a helper thread sees it when it runs in a copy of the step's (``contextvars``).
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Protocol, overload

from durable_otp.errors import NotInStepError
from durable_otp.workflow.child_call import ChildMaker
from durable_otp.workflow.context import Context
from durable_otp.workflow.results import Result, Results
from durable_otp.workflow.suspension import WaitRequest


class StepRun(Protocol):
    """What the engine offers to the step it runs."""

    @property
    def context(self) -> Context:
        """The context of this attempt."""
        ...

    @property
    def children(self) -> ChildMaker:
        """What makes children of this execution."""
        ...

    def wait(self, request: WaitRequest) -> Any:
        """Return the answer if it is there; else remember the wait and raise ``Suspension``."""
        ...

    def once(self, key: str, call: Callable[[], Any]) -> Any:
        """Return what is kept under a key, or keep and return the result of a call."""
        ...

    def now(self) -> datetime:
        """Return the database's time, aware and in UTC."""
        ...

    def progress(self) -> None:
        """Tell that the step is getting on."""
        ...


class _Runs(Protocol):
    """The runs that are entered, the latest last: a list, or what does the same."""

    def append(self, run: StepRun, /) -> None: ...

    def pop(self) -> StepRun: ...

    def __getitem__(self, index: int, /) -> StepRun: ...

    def __len__(self) -> int: ...


class _RunsOfContext:
    """A list of its own for each thread, and for what runs in a copy of its context."""

    def __init__(self) -> None:
        self._runs: ContextVar[tuple[StepRun, ...]] = ContextVar("durable_otp_runs", default=())

    def append(self, run: StepRun, /) -> None:
        self._runs.set((*self._runs.get(), run))

    def pop(self) -> StepRun:
        *others, run = self._runs.get()
        self._runs.set(tuple(others))
        return run

    def __getitem__(self, index: int, /) -> StepRun:
        return self._runs.get()[index]

    def __len__(self) -> int:
        return len(self._runs.get())


_runs: _Runs = []


def share_process() -> None:
    """Have each thread of this process run a step of its own from now on; there is no way back."""
    global _runs  # noqa: PLW0603 - what the current step is a fact of, is one of the process
    _runs = _RunsOfContext()


class entering:  # noqa: N801 - used as a function is
    """Make a run the current one for the whole process until the block ends."""

    def __init__(self, run: StepRun) -> None:
        self._run = run

    def __enter__(self) -> None:
        _runs.append(self._run)

    def __exit__(self, *_exception: object) -> None:
        _runs.pop()


def current_run() -> StepRun | None:
    """Return the step that runs now, or None outside any."""
    return _runs[-1] if _runs else None


def step_run(asking: str) -> StepRun:
    """Return the step that runs now, or raise ``NotInStepError`` naming who asked."""
    run = current_run()
    if run is None:
        raise NotInStepError(
            f"{asking} works only inside a running step; call it from a step's body.{_threads()}"
        )
    return run


def _threads() -> str:
    if isinstance(_runs, list):
        return ""
    return (
        " Its queue has threads above 1, so a thread that the body starts has to run in a copy of "
        "its context (contextvars.copy_context().run)."
    )


def context() -> Context:
    """Return the context of the step that runs now."""
    return step_run("context()").context


def input() -> Any:  # noqa: A001 - the contract's name
    """Return the input of the execution that runs now."""
    return step_run("input()").context.input


def get_context(key: str, default: Any = None) -> Any:
    """Return the context's value under ``key``, or ``default``."""
    return step_run("get_context()").context.get(key, default)


@overload
def put_context(key: str, value: Any, /) -> None: ...


@overload
def put_context(key: Mapping[str, Any], /) -> None: ...


def put_context(key: str | Mapping[str, Any], /, *value: Any) -> None:
    """Set one key of the context, or each key of a mapping."""
    target = step_run("put_context()").context
    if isinstance(key, Mapping) and not value:
        target.update(key)
    elif isinstance(key, str) and len(value) == 1:
        target[key] = value[0]
    else:
        raise TypeError("put_context takes a key and a value, or one mapping.")


def progress() -> None:
    """Tell that the step is getting on: one with a ``progress_deadline`` that has not is hung."""
    step_run("progress()").progress()


def execution_id() -> str:
    """Return the id of the execution that runs now."""
    return step_run("execution_id()").context.execution_id


def current_step() -> str:
    """Return the name of the step that runs now."""
    return step_run("current_step()").context.step


def parallel_results() -> Results:
    """Return the results of the latest parallel or each block: an `Ok` or an `Err` by name."""
    return dict(step_run("parallel_results()").context.results)


def parallel_result(name: str) -> Result | list[Result]:
    """Return one result of the latest parallel block, or the list of the latest each.

    Raises:
        KeyError: It has no result of this name.
    """
    results = step_run("parallel_result()").context.results
    if name not in results:
        known = ", ".join(map(repr, results)) or "none"
        raise KeyError(f"the latest parallel block has no result {name!r}; it has {known}")
    return results[name]

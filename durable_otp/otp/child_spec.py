"""What to supervise and how, as data that is checked before anything starts (OTP's 1.2)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from durable_otp.otp.errors import InvalidSpec
from durable_otp.otp.restart import AutoShutdown, Restart, RestartBackoff, Strategy

Shutdown = float | Literal["brutal_kill", "infinity"]
OnExceeded = Literal["shutdown", "backoff"]


@dataclass(frozen=True)
class SupervisorFlags:
    """How a supervisor treats its children's deaths.

    More than ``intensity`` restarts within ``period`` seconds: the supervisor stops its children
    and itself (``on_exceeded="shutdown"``), or goes on, ever more slowly, per child
    (``"backoff"``).
    """

    strategy: Strategy = "one_for_one"
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    on_exceeded: OnExceeded = "shutdown"
    backoff: RestartBackoff = field(default_factory=RestartBackoff)

    def check(self) -> None:
        """Raise InvalidSpec for the first flag that is wrong."""
        _one_of("strategy", self.strategy, get_args(Strategy))
        if not isinstance(self.intensity, int) or self.intensity < 0:
            raise InvalidSpec("intensity", self.intensity, "a whole number from 0")
        if not isinstance(self.period, int | float) or self.period <= 0:
            raise InvalidSpec("period", self.period, "a number of seconds above 0")
        _one_of("auto_shutdown", self.auto_shutdown, get_args(AutoShutdown))
        _one_of("on_exceeded", self.on_exceeded, get_args(OnExceeded))


@dataclass(frozen=True)
class ChildSpec:
    """One child: a process that runs ``start(parent, *args)``, or a nested supervisor.

    ``start`` gets the child's end of the link and must call ``parent.ready()`` within
    ``start_timeout`` seconds. ``shutdown`` is how long it may take to end after SIGTERM (default 5
    s; a nested supervisor as long as it needs). ``backoff`` slows down this child's restarts;
    default: no delay, as in OTP. A child that is silent for ``watchdog`` seconds (see
    ``ParentLink.beat``) is made to show where it is, and killed; default: it may hang.
    """

    id: str
    start: "Callable[..., None] | SupervisorSpec | DynamicSupervisorSpec"
    args: tuple[Any, ...] = ()
    restart: Restart = "permanent"
    shutdown: Shutdown | None = None
    type: Literal["worker", "supervisor"] | None = None
    significant: bool = False
    start_timeout: float | None = 30.0
    title: str | None = None
    backoff: RestartBackoff | None = None
    watchdog: float | None = None

    def __post_init__(self) -> None:
        nested = isinstance(self.start, SupervisorSpec | DynamicSupervisorSpec)
        kind = self.type or ("supervisor" if nested else "worker")
        patience: Shutdown = "infinity" if kind == "supervisor" else 5.0
        object.__setattr__(self, "type", kind)
        object.__setattr__(self, "shutdown", patience if self.shutdown is None else self.shutdown)

    @property
    def patience(self) -> Shutdown:
        """How the child is stopped: ``shutdown`` with its default filled in."""
        return "infinity" if self.shutdown is None else self.shutdown

    def check(self, auto_shutdown: AutoShutdown = "never") -> None:
        """Raise InvalidSpec for the first value that is wrong; a nested spec checks itself."""
        if not isinstance(self.id, str) or not self.id or "/" in self.id:
            raise InvalidSpec("id", self.id, "a name without a slash")
        nested = isinstance(self.start, SupervisorSpec | DynamicSupervisorSpec)
        if not nested and not callable(self.start):
            raise InvalidSpec("start", repr(self.start), "a function or a SupervisorSpec")
        _one_of("restart", self.restart, get_args(Restart))
        self._check_significant(auto_shutdown)
        _one_of("type", self.type, ("worker", "supervisor"))
        if not _is_shutdown(self.shutdown):
            raise InvalidSpec("shutdown", self.shutdown, 'seconds, "brutal_kill" or "infinity"')
        _seconds_or_none("start_timeout", self.start_timeout)
        _seconds_or_none("watchdog", self.watchdog)

    def _check_significant(self, auto_shutdown: AutoShutdown) -> None:
        if self.significant and auto_shutdown == "never":
            fix = "a supervisor with auto_shutdown for a significant child"
            raise InvalidSpec("auto_shutdown", "never", fix)
        if self.significant and self.restart == "permanent":
            fix = "transient or temporary for a significant child"
            raise InvalidSpec("restart of a significant child", "permanent", fix)


@dataclass(frozen=True)
class SupervisorSpec:
    """A supervisor and its children, in start order."""

    flags: SupervisorFlags
    children: tuple[ChildSpec, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "children", tuple(self.children))

    def check(self) -> None:
        """Raise InvalidSpec for the first thing that is wrong, before anything starts."""
        self.flags.check()
        seen: set[str] = set()
        for child in self.children:
            child.check(self.flags.auto_shutdown)
            if child.id in seen:
                raise InvalidSpec("id", child.id, "an id that no other child has")
            seen.add(child.id)


@dataclass(frozen=True)
class DynamicSupervisorSpec:
    """A supervisor of any number of children made from one template, none at first."""

    template: ChildSpec
    intensity: int = 3
    period: float = 5.0
    max_children: int | None = None
    auto_shutdown: AutoShutdown = "never"

    def check(self) -> None:
        """Raise InvalidSpec for the first thing that is wrong."""
        SupervisorFlags(
            intensity=self.intensity, period=self.period, auto_shutdown=self.auto_shutdown
        ).check()
        self.template.check(self.auto_shutdown)


def _one_of(what: str, value: object, allowed: Iterable[str]) -> None:
    choices = tuple(allowed)
    if value not in choices:
        raise InvalidSpec(what, value, " or ".join(choices))


def _seconds_or_none(what: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise InvalidSpec(what, value, "a number of seconds above 0, or None")


def _is_shutdown(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value in ("brutal_kill", "infinity")
    return value >= 0

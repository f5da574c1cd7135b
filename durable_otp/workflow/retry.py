"""When a failed attempt is tried again, and after how long. Pure: the random draw is handed in."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

from durable_otp.durations import in_seconds
from durable_otp.errors import DefinitionError, Fatal, SerializationError, StepInterrupted

Backoff = Literal["exponential", "linear", "constant"]
ExceptionTypes = type[Exception] | tuple[type[Exception], ...]

_LARGEST_EXPONENT = 1000  # 2.0 ** 1024 overflows; max_backoff is reached long before


@dataclass(frozen=True)
class Retry:
    """A step's policy for attempts that failed or timed out; crashes are counted elsewhere.

    Attributes:
        max_attempts: How often the body may fail, the first time included.
        backoff: How the delay grows with the number of attempts.
        base: Seconds (or a ``timedelta``) that the growth starts from.
        max_backoff: The longest delay before jitter, in seconds (or a ``timedelta``).
        jitter: How far the delay may stray, as a fraction of it: 0.25 is a quarter either way.
        retry_on: Exceptions worth another attempt; a step timeout counts as ``TimeoutError``.
        give_up_on: Exceptions that are not, even if ``retry_on`` names them.
    """

    max_attempts: int = 1
    backoff: Backoff = "exponential"
    base: float | timedelta = 1.0
    max_backoff: float | timedelta = 30.0
    jitter: float = 0.25
    retry_on: ExceptionTypes = Exception
    give_up_on: ExceptionTypes = ()

    def __post_init__(self) -> None:
        _check_max_attempts(self.max_attempts)
        if self.backoff not in get_args(Backoff):
            raise DefinitionError(
                f"Retry backoff must be one of {', '.join(get_args(Backoff))}, "
                f"not {self.backoff!r}."
            )
        for name in ("base", "max_backoff"):
            object.__setattr__(self, name, _seconds(name, getattr(self, name)))
        object.__setattr__(self, "jitter", _jitter(self.jitter))
        for name in ("retry_on", "give_up_on"):
            object.__setattr__(self, name, _exception_types(name, getattr(self, name)))

    def delay(self, attempt: int, jitter_draw: float) -> float:
        """Return the seconds to wait after failed attempt number ``attempt`` (from 1).

        Args:
            attempt: The attempt that has just failed.
            jitter_draw: A random number from 0 to 1; 0.5 gives the delay without jitter.
        """
        base, longest = in_seconds(self.base), in_seconds(self.max_backoff)
        match self.backoff:
            case "exponential":
                grown = base * 2.0 ** min(attempt, _LARGEST_EXPONENT)
            case "linear":
                grown = base * attempt
            case "constant":
                grown = base
        return min(longest, grown) * (1 + self.jitter * (2 * jitter_draw - 1))

    def allows(self, exception: BaseException, attempt: int) -> bool:
        """Return whether another attempt follows this end of attempt number ``attempt``.

        ``Fatal`` and ``SerializationError`` are never retried: neither would end differently.
        """
        if isinstance(exception, StepInterrupted):
            exception = TimeoutError()
        return (
            attempt < self.max_attempts
            and isinstance(exception, self.retry_on)
            and not isinstance(exception, (Fatal, SerializationError))
            and not isinstance(exception, self.give_up_on)
        )

    def description(self) -> dict[str, Any]:
        """Return the policy as JSON, exceptions by their qualified names."""
        return {
            "max_attempts": self.max_attempts,
            "backoff": self.backoff,
            "base": self.base,
            "max_backoff": self.max_backoff,
            "jitter": self.jitter,
            "retry_on": _names(self.retry_on),
            "give_up_on": _names(self.give_up_on),
        }


def _check_max_attempts(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise DefinitionError(
            f"Retry max_attempts must be a whole number of at least 1, not {value!r}."
        )


def _seconds(name: str, value: Any) -> float:
    try:
        return in_seconds(value, what=f"Retry {name}")
    except (TypeError, ValueError) as error:
        raise DefinitionError(str(error)) from None


def _jitter(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise DefinitionError(f"Retry jitter must be a number from 0 to 1, not {value!r}.")
    return float(value)


def _exception_types(name: str, value: Any) -> tuple[type[Exception], ...]:
    types = value if isinstance(value, tuple) else (value,)
    for item in types:
        if not (isinstance(item, type) and issubclass(item, Exception)):
            raise DefinitionError(
                f"Retry {name} must be an exception class or a tuple of them, not {item!r}."
            )
    return types


def _names(types: ExceptionTypes) -> list[str]:
    classes = types if isinstance(types, tuple) else (types,)
    return [f"{item.__module__}.{item.__qualname__}" for item in classes]

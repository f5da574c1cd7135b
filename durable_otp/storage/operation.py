"""Operations: what storage does, apart from how a connection does it.

An operation is a generator that yields `Statement`s and is sent their rows; what it returns is the
operation's answer. It never sees a connection, so the same operation runs on a worker's blocking
connection, on a manager's event loop and on the client's pool.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from durable_otp.storage.statements import Statement

Row = dict[str, Any]
Value = TypeVar("Value")
Parameters = ParamSpec("Parameters")
Operation = Generator[Statement, Sequence[Row], Value]


@dataclass
class Wish:
    """What a client asks once, and may have to say twice, because an answer was lost.

    A verb that is given one takes what it finds done already for its own doing.

    Attributes:
        is_repeated: Whether it was sent before, and no answer came.
    """

    is_repeated: bool = False


TRANSACTION = "runs_in_one_transaction"


def transaction(operation: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Mark an operation whose statements are committed together or not at all.

    An operation without the mark commits each statement by itself; most are one statement.
    """
    setattr(operation, TRANSACTION, True)
    return operation

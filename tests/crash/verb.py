"""What a verb that is swept is made of, and the ways in which a client does one."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durable_otp import Durable, Workflow, wait_for_text
from durable_otp.cli.main import app
from durable_otp.storage.adapter import PostgresAdapter
from tests.support.tables import HOLDER, Tables

TOKEN = HOLDER["lock_token"]
OLD = timedelta(days=100)
Arguments = list[Any]

order = Workflow("order", timeout=3600)


@order.step(name="one", compensate="undo")
def one(ctx: Any) -> None:
    ctx["one"] = 1


@order.step(name="two")
def two(ctx: Any) -> None:
    ctx["asked"] = wait_for_text("asked")


@order.compensate(name="undo")
def undo(ctx: Any) -> None:
    """Undo it."""


order.schedule("0 9 * * *", input={"by": "declaration"})


@dataclass(frozen=True)
class Verb:
    """Something a client does, from a prepared state.

    ``act`` gets the DSN, the schema and what ``prepare`` has returned. ``again``: whoever does not
    know whether it happened may do it again, and nothing happens twice. ``repeats``: a connection
    that is lost is replaced by the product itself, so the verb ends as if nothing had been.
    ``roles``: the client's own, where other processes speak as well. ``first``: the statement whose
    answer is lost each time already before anything else breaks, so that what repeats it is swept.
    """

    act: Callable[..., Any]
    prepare: Callable[[Tables], Arguments] = lambda _: []
    again: bool = True
    repeats: bool = True
    roles: tuple[str, ...] = ()
    first: str = ""


def client(method: str) -> Callable[..., Any]:
    """Return what calls a method of a client."""

    def act(dsn: str, schema: str, *arguments: Any) -> None:
        with Durable(dsn, schema=schema) as durable:
            getattr(durable, method)(*arguments)

    return act


def with_client(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does something with a client."""

    def acts(dsn: str, schema: str, *arguments: Any) -> None:
        with Durable(dsn, schema=schema) as durable:
            act(durable, *arguments)

    return acts


def with_adapter(act: Callable[..., Any]) -> Callable[..., Any]:
    """Return what does something with a queue adapter."""

    def acts(dsn: str, schema: str, *arguments: Any) -> None:
        with PostgresAdapter(dsn, schema=schema) as adapter:
            act(adapter, *arguments)

    return acts


def command(*words: str) -> Callable[..., Any]:
    """Return what runs a command line."""

    def act(dsn: str, schema: str, *arguments: str) -> None:
        app(args=[*words, *arguments, "--dsn", dsn, "--schema", schema])

    return act

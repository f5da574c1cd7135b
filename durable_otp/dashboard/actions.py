"""Everything that changes something: a form of an operator, done once, said and written down."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.console import Console
from durable_otp.dashboard.flash import Notice, say
from durable_otp.dashboard.guard import LONGEST_BODY, Refused, check_form
from durable_otp.dashboard.rendering import console_of, go
from durable_otp.errors import DurableError
from durable_otp.storage.dashboard import Deed, audit

Form = Mapping[str, Any]


class Done(NamedTuple):
    """What became of an action: whom it was done to, a sentence, and where to go then."""

    target: str
    sentence: str
    then: str | None = None
    detail: Mapping[str, Any] | None = None


class Order(NamedTuple):
    """What an action is told."""

    console: Console
    form: Form
    path: Mapping[str, str]
    actor: str

    def text(self, name: str) -> str:
        """Return a field as text; empty when it was left out."""
        value = self.form.get(name, "")
        return value if isinstance(value, str) else ""


Perform = Callable[[Order], Done]
Back = Callable[[Order], str]


class Action(Route):
    """The route of an action, with what it does, for those who ask for it in another way."""

    verb: str
    perform: Perform


def action(path: str, verb: str, perform: Perform, *, back: Back | None = None) -> Action:
    """Return the route of an action.

    Args:
        path: Where its form is sent.
        verb: What the audit calls it.
        perform: Does it, in a thread; a ``DurableError``, ``ValueError`` or ``TypeError`` is the
            sentence of a refusal.
        back: Says where a refusal leads: a form, with what was typed into it; where it was pressed
            by default.
    """

    async def endpoint(request: Request) -> Response:
        form = await _form(request)
        session = check_form(request, form, console_of(request).access)
        console = console_of(request)
        path_values = {key: str(value) for key, value in request.path_params.items()}
        order = Order(console, form, path_values, session.person.name)
        done, error = await run_in_threadpool(attempt, verb, perform, order)
        then = done.then
        if back and error is not None:
            then = await run_in_threadpool(back, order)
        response = go(request, _next(form, then))
        say(request, response, Notice("failed" if error else "done", done.sentence))
        return response

    made = Action(path, endpoint, methods=["POST"], name=verb)
    made.verb, made.perform = verb, perform
    return made


def attempt(verb: str, perform: Perform, order: Order) -> tuple[Done, Exception | None]:
    """Do it, and write down who did what and what became of it; return that, and the refusal."""
    refusal: Exception | None = None
    try:
        done = perform(order)
    except (DurableError, ValueError, TypeError) as error:
        done, refusal = Done(" ".join(order.path.values()), str(error)), error
    outcome = "done" if refusal is None else f"refused: {done.sentence}"
    deed = Deed(order.actor, verb, done.target, outcome, dict(done.detail or {}))
    order.console.run(audit, deed)
    order.console.hub.tell("audit")
    return done, refusal


async def _form(request: Request) -> Form:
    """Return the fields of a form; several of one name as a list.

    Raises:
        Refused: It is too large.
    """
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > LONGEST_BODY:
        raise Refused(
            f"A form may have at most {LONGEST_BODY:,} bytes, and must say how many.", 413
        )
    data = await request.form(max_files=0, max_fields=5000, max_part_size=LONGEST_BODY)
    fields: dict[str, Any] = {}
    for name in data:
        values = data.getlist(name)
        fields[name] = values[0] if len(values) == 1 else values
    return fields


def _next(form: Form, then: str | None) -> str:
    """Return where to go: what the action says, or the page that it was pressed on."""
    asked = form.get("next")
    if then is not None:
        return then
    is_ours = (
        isinstance(asked, str) and asked.startswith("/") and not asked.startswith(("//", "/\\"))
    )
    return str(asked) if is_ours else "/"

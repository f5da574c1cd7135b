"""Signing in and out."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from durable_otp.dashboard.access import Person
from durable_otp.dashboard.guard import LONGEST_BODY, session_cookie
from durable_otp.dashboard.rendering import console_of, go, render
from durable_otp.storage.dashboard import Deed, audit

LONGEST_PASSWORD = 1000


def form(request: Request) -> Response:
    """Show the form."""
    return _form(request, "")


async def sign_in(request: Request) -> Response:
    """Begin a session for who has the right name and password."""
    access = console_of(request).access
    if access.is_besieged:
        return _form(request, "Too many wrong passwords; wait a minute.", 429)
    given = await request.form(max_files=0, max_part_size=LONGEST_BODY)
    name, password = str(given.get("name", ""))[:100], str(given.get("password", ""))
    person = None
    if len(password) <= LONGEST_PASSWORD:
        person = await run_in_threadpool(access.sign_in, name, password)
    if person is None:
        return _form(request, "This name and password are not known together.", 401)
    await run_in_threadpool(console_of(request).run, audit, _deed(person))
    response = go(request, _wanted(request))
    session = access.begin(person)
    response.headers.append("Set-Cookie", session_cookie(request, access.cookie(session)))
    return response


async def sign_out(request: Request) -> Response:
    """End the session here."""
    response = go(request, "/login")
    response.headers.append("Set-Cookie", session_cookie(request, ""))
    return response


def _form(request: Request, wrong: str, status: int = 200) -> Response:
    asked = request.query_params.get("next", "/")
    return render(request, "login.html", status=status, wrong=wrong, asked_for=asked)


def _wanted(request: Request) -> str:
    asked = request.query_params.get("next", "/")
    is_ours = asked.startswith("/") and not asked.startswith(("//", "/\\"))
    return asked if is_ours else "/"


def _deed(person: Person) -> Deed:
    return Deed(person.name, "sign in", person.role, "done")


ROUTES = [
    Route("/login", form),
    Route("/login", sign_in, methods=["POST"]),
    Route("/logout", sign_out, methods=["POST"]),
]

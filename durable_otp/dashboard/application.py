"""The ASGI application: routes, static files, the guard in front, and what an error looks like."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durable_otp.dashboard.access import Access
from durable_otp.dashboard.console import Console, Limits, TookTooLong
from durable_otp.dashboard.guard import Guard, Refused, is_api
from durable_otp.dashboard.pages import routes
from durable_otp.dashboard.rendering import render
from durable_otp.errors import DatabaseUnreachable, DurableError, ExecutionNotFound, MigrationError
from durable_otp.events import emit
from durable_otp.storage import dashboard
from durable_otp.storage.codec import CodecChoice
from durable_otp.storage.pool import known_dsn


def app(
    dsn: str | None = None,
    *,
    schema: str = "durable",
    access: Access | None = None,
    limits: Limits | None = None,
    codec: CodecChoice = None,
) -> Starlette:
    """Return the dashboard as an ASGI application, to be served or mounted under any path.

    Args:
        dsn: A libpq connection string; the environment's DURABLE_DSN by default.
        schema: The schema whose executions are shown.
        access: Who may look and act. By default everybody who reaches it by a name of this machine;
            mounted in a host that others reach, give ``Access(authorize=...)``, the host's own
            answer to who is asking, or people with passwords.
        limits: What it has to know of the nodes' configuration.
        codec: What payloads are decoded with to be shown, and encoded with when they are sent; what
            cannot be read is shown as encoded.

    Raises:
        ConfigError: There is no DSN, or it or the schema's name is malformed, or a codec is none.
    """
    access = access or Access()
    console = Console(known_dsn(dsn), schema, access, limits or Limits(), codec)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        console.close()

    made = Starlette(
        routes=[
            *routes(),
            Route("/healthz", lambda _: PlainTextResponse("ok\n")),
            Route("/readyz", _ready),
            Mount("/static", _Static(packages=[("durable_otp.dashboard", "static")])),
        ],
        middleware=[Middleware(Guard, access=access), Middleware(_Shield)],
        exception_handlers={
            404: _not_found,
            405: _not_allowed,
            Refused: _refused,
            ExecutionNotFound: _missing,
            TookTooLong: _too_long,
            DatabaseUnreachable: _unreachable,
            MigrationError: _unreachable,
            ValueError: _malformed,
            DurableError: _malformed,
        },
        lifespan=lifespan,
    )
    made.state.console = console
    return made


def _ready(request: Request) -> Response:
    """Say whether the database answers; asked once a second, however often this is."""
    console: Console = request.app.state.console
    try:
        console.kept("ready", lambda: console.run(dashboard.now))
    except (DatabaseUnreachable, MigrationError, TookTooLong):
        return PlainTextResponse("The database does not answer.\n", 503)
    return PlainTextResponse("ok\n")


class _Shield:
    """Answers what nobody foresaw with a page that says nothing of what broke."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:  # noqa: BLE001 - the border of a request
            reason = f"{type(error).__name__}: {error}"
            emit(
                "dashboard_failed", level=logging.ERROR, path=str(scope.get("path")), reason=reason
            )
            if not started:
                await _broken(Request(scope, receive))(scope, receive, send)


class _Static(StaticFiles):
    """Files that never change under their address, which carries their fingerprint."""

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response: Response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.setdefault("Cache-Control", "public, max-age=31536000, immutable")
        return response


def _page(request: Request, status: int, title: str, sentence: str) -> Response:
    if is_api(request):
        return JSONResponse({"error": sentence}, status)
    return render(request, "error.html", status=status, title=title, sentence=sentence)


def _not_found(request: Request, _: Exception) -> Response:
    return _page(request, 404, "No such page", "Nothing is shown under this address.")


def _not_allowed(request: Request, _: Exception) -> Response:
    return _page(request, 405, "Not like this", "This address takes forms only, or none.")


def _refused(request: Request, error: Exception) -> Response:
    return _page(request, getattr(error, "status", 403), "Refused", str(error))


def _missing(request: Request, error: Exception) -> Response:
    return _page(request, 404, "No such execution", str(error))


def _too_long(request: Request, error: Exception) -> Response:
    return _page(request, 503, "That takes too long", str(error))


def _unreachable(request: Request, error: Exception) -> Response:
    return _page(request, 503, "The database does not answer", str(error))


def _malformed(request: Request, error: Exception) -> Response:
    return _page(request, 400, "That cannot be asked", str(error))


def _broken(request: Request) -> Response:
    return _page(request, 500, "This page is broken", "The reason is in the dashboard's log.")

"""Serving the pages: alone in the foreground, or as a supervised process of the tree."""

import asyncio
import contextlib
import socket
import threading
from typing import Any

import uvicorn

from durable_otp.config import is_loopback
from durable_otp.dashboard.access import Access
from durable_otp.dashboard.application import app
from durable_otp.dashboard.console import Limits
from durable_otp.dashboard.live import Hub
from durable_otp.errors import ConfigError
from durable_otp.otp import ParentLink
from durable_otp.otp.link import InitError
from durable_otp.runtime.carried import take_up_codecs
from durable_otp.runtime.settings import DashboardSettings

STOP_SECONDS = 2.0
START_SECONDS = 20.0
BACKLOG = 128


class Server:
    """The pages on a socket of their own, in a thread; signals stay their process's business."""

    def __init__(self, settings: DashboardSettings) -> None:
        self.socket = listening(settings)
        self._app = made(settings)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
                lifespan="on",
            )
        )
        self._thread = threading.Thread(target=self._run, name="dashboard", daemon=True)

    @property
    def address(self) -> str:
        """Where it is reached."""
        host, port = self.socket.getsockname()[:2]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def hub(self) -> Hub:
        """What tells open pages of changes."""
        hub: Hub = self._app.state.console.hub
        return hub

    @property
    def is_alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Serve; return when it does. Raises ``ConfigError`` when it does not."""
        self._thread.start()
        waiting = threading.Event()
        for _ in range(int(START_SECONDS * 50)):
            if self._server.started or not self._thread.is_alive():
                break
            waiting.wait(0.02)
        if not self._server.started:
            raise ConfigError("The dashboard did not start; its log says why.")

    def stop(self) -> None:
        """Serve no more; what open pages listen to ends."""
        self.hub.close()
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS)
        if self._thread.is_alive():
            self._server.force_exit = True
            self._thread.join(STOP_SECONDS)
        self.socket.close()

    def join(self, seconds: float) -> None:
        """Wait for its end."""
        self._thread.join(seconds)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self.socket]))


def listening(settings: DashboardSettings) -> socket.socket:
    """Return the socket that pages are asked for on.

    Raises:
        ConfigError: It would be open to others without a password, or the address is taken.
    """
    if not is_loopback(settings.host) and not settings.has_credentials:
        raise ConfigError(
            f"The dashboard would be open to everybody who reaches {settings.host}; give "
            "[dashboard] operators, viewers or a token, or use 127.0.0.1."
        )
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    made_socket = socket.socket(family, socket.SOCK_STREAM)
    try:
        made_socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made_socket.bind((settings.host, settings.port))
        made_socket.listen(BACKLOG)
    except OSError as error:
        made_socket.close()
        raise ConfigError(
            f"The dashboard cannot listen on {settings.host} port {settings.port}: "
            f"{(error.strerror or str(error)).lower()}; choose another [dashboard] port."
        ) from None
    return made_socket


def made(settings: DashboardSettings) -> Any:
    """Return the application with these settings."""
    access = Access(
        operators=settings.operators,
        viewers=settings.viewers,
        token=settings.token,
        read_only=settings.read_only,
        hosts=settings.hosts,
    )
    limits = Limits(
        node_timeout=settings.node_timeout,
        stale_lock_timeout=settings.stale_lock_timeout,
        max_payload=settings.max_payload,
        shown=settings.shown,
    )
    database = settings.database
    codecs = take_up_codecs(database.codecs)
    return app(
        database.dsn, schema=database.schema, access=access, limits=limits, codec=codecs or None
    )


def supervised(parent: ParentLink, settings: DashboardSettings) -> None:
    """Be the tree's dashboard until told to stop; dies when it no longer serves."""
    try:
        server = Server(settings)
        server.start()
    except ConfigError as error:
        raise InitError(str(error)) from None
    parent.ready({"address": server.address})
    while not parent.stopping and server.is_alive:
        parent.receive(1.0)
    stopping = parent.stopping
    with contextlib.suppress(OSError):
        server.stop()
    if not stopping:
        raise ConfigError("The dashboard stopped serving.")

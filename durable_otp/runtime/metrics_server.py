"""The answers of a node's metrics over HTTP.

``/metrics`` reads the database when it is asked; ``/healthz`` says that this process answers,
``/readyz`` that the database answers and every queue of the node is up.
"""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from durable_otp.errors import DatabaseUnreachable, DurableError
from durable_otp.runtime.exposition import CONTENT_TYPE, exposition
from durable_otp.runtime.settings import MetricsSettings
from durable_otp.runtime.tree_view import flatten
from durable_otp.storage.nodes import live_nodes
from durable_otp.storage.overview import oldest_due
from durable_otp.storage.pool import PooledDatabase
from durable_otp.storage.queue import all_stats

ANSWER_WITHIN_SECONDS = 10.0


class Metrics:
    """What is answered, without the HTTP."""

    def __init__(self, database: PooledDatabase, settings: MetricsSettings) -> None:
        self._database = database
        self._settings = settings

    def metrics(self) -> tuple[int, str]:
        """Return the metrics; without a database those that say so."""
        try:
            nodes = self._database.run(live_nodes)
            stats = self._database.run(all_stats)
            ages = self._database.run(oldest_due)
        except DurableError:
            return 200, exposition(is_database_up=False, nodes=[], stats={}, ages={})
        return 200, exposition(is_database_up=True, nodes=nodes, stats=stats, ages=ages)

    def healthz(self) -> tuple[int, str]:
        """Return that this process answers."""
        return 200, "ok\n"

    def readyz(self) -> tuple[int, str]:
        """Return whether the node can work, and if not, why."""
        try:
            nodes = self._database.run(live_nodes)
        except DatabaseUnreachable as error:
            return 503, f"the database cannot be reached: {error}\n"
        own = next((node for node in nodes if node.id == self._settings.node_id), None)
        if own is None or own.tree is None:
            return 503, "the node has not published itself\n"
        down = [
            child["queue"]
            for child in flatten(own.tree)
            if child["role"] == "queue_manager" and child["status"] != "up"
        ]
        if down:
            return 503, f"not up: queue {', queue '.join(down)}\n"
        return 200, "ready\n"


class _Handler(BaseHTTPRequestHandler):
    """GET of three paths; everything else is refused."""

    answers: ClassVar[dict[str, Any]]
    timeout = ANSWER_WITHIN_SECONDS
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer."""
        answer = self.answers.get(self.path.partition("?")[0])
        status, text = (404, "there is nothing here\n") if answer is None else answer()
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        """Return what is told of the program: not its version."""
        return "durable-otp"

    def log_message(self, *_arguments: Any) -> None:
        """Log nothing: scrapes are many and alike."""


def server_of(metrics: Metrics, host: str, port: int) -> ThreadingHTTPServer:
    """Return a server that listens; raises OSError if it cannot."""
    answers = {
        "/metrics": metrics.metrics,
        "/healthz": metrics.healthz,
        "/readyz": metrics.readyz,
    }
    server = ThreadingHTTPServer((host, port), type("Handler", (_Handler,), {"answers": answers}))
    server.daemon_threads = True
    return server

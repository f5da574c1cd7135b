"""Serves what a node knows as metrics for Prometheus, and whether it lives and is ready.

A process of its own: whoever asks often, or slowly, keeps no queue from its work. What it serves
with is imported here and not by the root, which all other processes are forked from.
"""

import threading

from durable_otp.events import emit
from durable_otp.otp import InitError, ParentLink
from durable_otp.otp.title import set_title
from durable_otp.runtime.settings import MetricsSettings

CONNECTIONS = 1


def metrics(parent: ParentLink, title: str, settings: MetricsSettings) -> None:
    """Serve until told to stop."""
    from durable_otp.runtime.metrics_server import Metrics, server_of  # noqa: PLC0415 - as above
    from durable_otp.storage.pool import PooledDatabase  # noqa: PLC0415 - as above

    set_title(title)
    place = settings.database
    database = PooledDatabase(place.dsn, place.schema, role="metrics", size=CONNECTIONS)
    try:
        server = server_of(Metrics(database, settings), settings.host, settings.port)
    except OSError as error:
        raise InitError(
            f"metrics cannot listen at {settings.host}:{settings.port}: {error.strerror}; choose "
            "another metrics.port.",
            fatal=True,
        ) from None
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        parent.ready()
        emit("metrics_served", host=settings.host, port=server.server_address[1])
        while not parent.stopping:
            parent.receive(None)
        server.shutdown()
    database.close()

"""What the server allows, and what nodes need: asked before a tree is made that could not run."""

from collections.abc import Collection

from durable_otp.storage.operation import Operation, Row
from durable_otp.storage.statements import Statement

CONNECTIONS_PER_MANAGER = 2
SPARE_WORKERS = 1


def worker_processes(concurrency: int, threads: int) -> int:
    """Return how many worker processes run so many executions, the spare left out."""
    return -(-concurrency // threads)


def needed_connections(sizes: Collection[tuple[int, int]], siblings: int) -> tuple[int, str]:
    """Return how many connections a node may open at most, and the sum that says why.

    ``sizes`` are the concurrency and the threads of each of its queues, ``siblings`` the processes
    beside their managers. Every thread of a worker has a connection of its own.
    """
    workers = sum(
        (worker_processes(concurrency, threads) + SPARE_WORKERS) * threads
        for concurrency, threads in sizes
    )
    managers = CONNECTIONS_PER_MANAGER * len(sizes)
    who = "workers" if all(threads == 1 for _, threads in sizes) else "threads of workers"
    formula = (
        f"{workers} {who} and spares + {CONNECTIONS_PER_MANAGER} x {len(sizes)} queue "
        f"managers + {siblings} siblings"
    )
    return workers + managers + siblings, formula


def connection_limit() -> Operation[int]:
    """Return how many connections the server has for ordinary roles."""
    rows = yield Statement("connection_limit")
    return int(rows[0]["connections"])


def database_health() -> Operation[tuple[Row, list[Row]]]:
    """Return what the server says of itself, and the sizes of the schema's tables."""
    (facts,) = yield Statement("database_health")
    return facts, list((yield Statement("table_sizes")))

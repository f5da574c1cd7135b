"""Faults of the network between a node, or the load, and PostgreSQL: through the proxies."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from bench.soak.nemesis.field import Blow, Field, Kind, Strike

DIRECTIONS = ["up", "down", "both"]
Values = Callable[[Blow], dict[str, Any]]


def _condition(kind: str, values: Values = lambda _: {}) -> Strike:
    """Return a fault that holds on all connections of one proxy until it is healed."""

    @contextmanager
    def strike(field: Field, blow: Blow) -> Iterator[str]:
        proxy = blow.pick(field.proxies)
        if proxy is None:
            yield ""
            return
        toxic = proxy.toxic(kind=kind, **values(blow))
        try:
            yield f"proxy {field.proxies.index(proxy)}"
        finally:
            proxy.heal(id=toxic["id"])

    return strike


def _cut(how: str) -> Strike:
    """Return a fault that breaks all connections of one proxy; what is half-open ends with it."""

    @contextmanager
    def strike(field: Field, blow: Blow) -> Iterator[str]:
        proxy = blow.pick(field.proxies)
        if proxy is None:
            yield ""
            return
        hit = proxy.cut(how=how)["cut"]
        try:
            yield f"proxy {field.proxies.index(proxy)}: {len(hit)} connections" if hit else ""
        finally:
            proxy.heal(id=0)  # no toxic, but the connections that have lost bytes

    return strike


def _slow(blow: Blow) -> dict[str, Any]:
    return {"ms": blow.between(50, 500), "jitter": blow.between(0, 50, 2)}


def _direction(blow: Blow) -> dict[str, Any]:
    return {"dir": blow.pick(DIRECTIONS, 1)}


KINDS = [
    Kind("network: slow", _condition("delay", _slow), 1, 6),
    Kind("network: stalled", _condition("stall", _direction), 0.5, 12),
    Kind("network: black hole", _condition("blackhole", _direction), 0.5, 6),
    Kind("network: refused", _condition("refuse"), 0.5, 5),
    Kind("network: never answered", _condition("hang"), 0.5, 5),
    Kind("network: flaky", _condition("flaky", lambda _: {"p": 0.02}), 1, 5),
    Kind("connections reset", _cut("reset")),
    Kind("half-open: server gone", _cut("server_gone"), 0.5, 6),
    Kind("half-open: server unaware", _cut("orphan_server"), 0.5, 6),
]

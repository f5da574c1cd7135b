"""Bars of what ended when: numbers turned into rectangles, drawn by a template. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from durable_otp.dashboard.status import tier

WIDTH, HEIGHT = 960.0, 120.0
ORDER = ("completed", "compensated", "cancelled", "compensation_failed", "failed")


@dataclass(frozen=True)
class Rectangle:
    """A piece of a bar, in pixels of the chart."""

    x: float
    y: float
    width: float
    height: float
    tier: str


@dataclass(frozen=True)
class Chart:
    """Stacked bars; ``most`` is what the highest of them stands for."""

    rectangles: tuple[Rectangle, ...]
    most: int
    width: float = WIDTH
    height: float = HEIGHT


def bars(buckets: Sequence[Mapping[str, int]]) -> Chart:
    """Return stacked bars, one for each bucket, the failed on top where they are seen."""
    most = max([1, *(sum(bucket.values()) for bucket in buckets)])
    step = WIDTH / max(1, len(buckets))
    drawn = []
    for number, bucket in enumerate(buckets):
        y = HEIGHT
        for status in ORDER:
            height = HEIGHT * bucket.get(status, 0) / most
            if height:
                height = max(height, 1.5)
                y -= height
                drawn.append(
                    Rectangle(
                        round(number * step, 2),
                        round(max(0.0, y), 2),
                        round(step - 2, 2),
                        round(height, 2),
                        tier(status),
                    )
                )
    return Chart(tuple(drawn), most)

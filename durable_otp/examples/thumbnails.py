"""Thumbnails: a library that takes its whole process with it, once."""

import signal
from typing import Any

from durable_otp import Context, Workflow

make_thumbnail = Workflow("make_thumbnail")


@make_thumbnail.step
def load(ctx: Context) -> dict[str, Any]:
    """Find the image."""
    return {"bytes": 4096 * len(ctx.input["file"])}


@make_thumbnail.step
def resize(ctx: Context) -> dict[str, Any]:
    """Shrink it; the first attempt kills its own process, as a bad C library would."""
    if ctx.attempt == 1:
        signal.raise_signal(signal.SIGKILL)
    return {"thumbnail_bytes": ctx["bytes"] // 64}


@make_thumbnail.step
def store(ctx: Context) -> dict[str, Any]:
    """Keep it."""
    return {"stored": ctx["thumbnail_bytes"] > 0}

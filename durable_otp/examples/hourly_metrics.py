"""Hourly metrics: a workflow that the clock starts."""

import os
import shutil
from typing import Any

from durable_otp import Context, Workflow

hourly_metrics = Workflow("hourly_metrics")


@hourly_metrics.step
def measure(ctx: Context) -> dict[str, Any]:
    """Look at this machine."""
    disk = shutil.disk_usage(ctx["directory"])
    return {"load": os.getloadavg()[0], "disk_used": disk.used / disk.total}


@hourly_metrics.step
def judge(ctx: Context) -> dict[str, Any]:
    """Say whether somebody should look."""
    return {"is_alarming": ctx["disk_used"] > ctx["disk_alarm"]}


hourly_metrics.schedule("0 * * * *", input={"directory": "/", "disk_alarm": 0.95})

"""The recipe of docs/integrations.md for Jupyter: its cells in a real kernel."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.postgres import fresh_database
from tests.support.recipes import recipes

pytest.importorskip("ipykernel", reason="ipykernel is not installed")
manager = pytest.importorskip("jupyter_client.manager", reason="jupyter_client is not installed")

IN_A_LOOP = "import asyncio; asyncio.get_running_loop().is_running()"


def test_a_notebook_s_cells_run_a_tree_and_wait_for_it(postgres_dsn: str, tmp_path: Path) -> None:
    kernel = manager.KernelManager(transport="ipc", ip=str(tmp_path / "kernel"))
    with fresh_database(postgres_dsn) as dsn:
        kernel.start_kernel(cwd=str(tmp_path), env=os.environ | {"DURABLE_DSN": dsn})
        client = kernel.blocking_client()
        try:
            client.start_channels()
            client.wait_for_ready(timeout=60)
            shown = [result(client, f"cell {number}") for number in range(1, 5)]
            assert shown == [None, None, "'Hello, Ada!'", None]
            assert result(client, None, IN_A_LOOP) == "True"
        finally:
            client.stop_channels()
            kernel.shutdown_kernel(now=True)
            kernel.cleanup_resources()


def result(client: Any, cell: str | None, code: str = "") -> str | None:
    """Run a cell of the page, or other code, and return what it shows."""
    shown: list[dict[str, Any]] = []
    reply = client.execute_interactive(
        recipes()[cell] if cell else code,
        output_hook=lambda message: shown.append(message["content"]),
        timeout=100,
    )
    assert reply["content"]["status"] == "ok", reply["content"]
    texts = [
        each["data"]["text/plain"] for each in shown if "execution_count" in each and "data" in each
    ]
    return texts[-1] if texts else None

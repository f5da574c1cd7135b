"""The recipe of docs/integrations.md for FastAPI, behind a real server."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import fresh_database
from tests.support.recipes import write
from tests.support.tree import all_gone
from tests.support.waiting import wait_until

pytest.importorskip("fastapi", reason="FastAPI is not installed")
httpx = pytest.importorskip("httpx", reason="httpx is not installed")


def test_the_tree_lives_as_long_as_the_application(postgres_dsn: str, tmp_path: Path) -> None:
    write(tmp_path, "shop/workflows.py", "shop/web.py")
    with socket.create_server(("127.0.0.1", 0)) as listener, fresh_database(postgres_dsn) as dsn:
        command = [sys.executable, "-m", "uvicorn", "shop.web:app"]
        server = subprocess.Popen(
            [*command, "--fd", str(listener.fileno()), "--log-level", "warning"],
            cwd=tmp_path,
            env=os.environ | {"DURABLE_DSN": dsn},
            pass_fds=[listener.fileno()],
            stderr=subprocess.PIPE,
            text=True,
        )
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            with httpx.Client(base_url=address, timeout=60) as client:
                asks(client)
            tree = {each.pid for each in psutil.Process(server.pid).children(recursive=True)}
            assert len(tree) > 3
            server.terminate()
            _, said = server.communicate(timeout=60)
        finally:
            server.kill()
            server.wait()
        assert said == ""
        wait_until(lambda: all_gone(tree), what="the end of the tree")


def asks(client: "httpx.Client") -> None:
    """Use every route, well and badly."""
    key = {"Idempotency-Key": "one"}
    placed = client.post("/orders", json={"order": 7}, headers=key)
    assert placed.status_code == 202
    assert client.post("/orders", json={"order": 8}, headers=key).json() == placed.json()
    path = f"/orders/{placed.json()['id']}"
    wait_until(lambda: client.get(path).json()["status"] == "completed")
    assert client.get(path).json()["output"]["packed"] == "order 7"
    unknown = client.get("/orders/00000000-0000-4000-8000-000000000000")
    assert unknown.status_code == 404
    assert "00000000-0000-4000-8000-000000000000" in unknown.json()["detail"]
    assert client.post("/orders", json={"order": 7}).status_code == 422
    bad = client.post("/orders", content=b'{"order": NaN}', headers=key)
    assert bad.status_code == 422

"""The harness's side: a proxy in a process of its own, spoken to over a socket."""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from psycopg.conninfo import make_conninfo

_ANSWER_TIMEOUT = 30.0


class Ctl:
    """The control of a proxy: every verb of `verbs.Verbs` is a method with keyword arguments."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __call__(self, verb: str, **values: Any) -> Any:
        """Send one request and return its answer.

        Raises:
            RuntimeError: The proxy refused it.
        """
        patience = _ANSWER_TIMEOUT + (values.get("timeout") or 0)
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(patience)
            connection.connect(self.path)
            connection.sendall(json.dumps({"cmd": verb, **values}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer = json.loads(lines.readline())
        if not answer.pop("ok"):
            raise RuntimeError(answer["error"])
        return answer

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        if verb.startswith("_"):
            raise AttributeError(verb)
        return lambda **values: self(verb, **values)


class ChaosProxy(Ctl):
    """``with ChaosProxy(("127.0.0.1", 5432)) as proxy:`` - then connect to its host and port."""

    def __init__(self, upstream: tuple[str, int], log: Path | None = None) -> None:
        self._directory = tempfile.mkdtemp(prefix="chaos.")
        super().__init__(str(Path(self._directory) / "control"))
        arguments = [sys.executable, "-m", "tests.support.chaos", "serve"]
        arguments += [f"{upstream[0]}:{upstream[1]}", self.path, *([str(log)] if log else [])]
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,  # its end tells the proxy that this process has gone
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the chaos proxy did not start")
        self.host, self.port = "127.0.0.1", int(json.loads(line)["listening"])

    def dsn(self, dsn: str) -> str:
        """Return a DSN that goes through this proxy to the same database."""
        return make_conninfo(dsn, host=self.host, port=str(self.port))

    def close(self) -> None:
        """End the proxy; every connection breaks."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        with contextlib.suppress(OSError):
            shutil.rmtree(self._directory)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

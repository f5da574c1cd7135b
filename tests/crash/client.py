"""``python -m tests.crash.client``: a client that may be killed, again and again.

It reads one verb with its arguments from a line of JSON, does it in a fork of its own, and answers
with how that ended. The fork is the client; this process only sees it die.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ENDED_WELL, REFUSED = 0, 3


class ClientProcess:
    """The harness's side of it: a process whose forks do verbs."""

    def __init__(self, dsn: str, schema: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.client", dsn, schema],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        self.pid = self._process.pid

    def do(self, verb: str, *arguments: Any) -> tuple[int, str]:
        """Do a verb; return its exit code (negative: the signal) and what it said of an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()
        code, said = json.loads(self._process.stdout.readline())
        return code, said

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


def serve(dsn: str, schema: str) -> None:
    """Do one verb per line until there is none."""
    from tests.crash.verbs import VERBS

    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            os.dup2(2, 1)  # what a verb prints is no answer
            os._exit(_done(VERBS[verb].act, writing, (dsn, schema, *arguments)))
        os.close(writing)
        with os.fdopen(reading) as answer:
            said = answer.read()
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps([code, said]), flush=True)


def _done(act: Any, writing: int, arguments: tuple[Any, ...]) -> int:
    try:
        act(*arguments)
    except Exception as error:
        os.write(writing, f"{type(error).__name__}: {error}"[:2000].encode())
        return REFUSED
    except SystemExit as end:
        return int(end.code or 0)
    return ENDED_WELL


if __name__ == "__main__":
    serve(*sys.argv[1:])

"""A node and the commands typed beside it, for the sessions that the pages show."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from durable_otp import Durable

Answer = TypeVar("Answer")
PROGRAM = [sys.executable, "-m", "durable_otp"]
PATIENCE = 90.0
LEFT_OUT = ("DURABLE_DSN", "NO_COLOR", "FORCE_COLOR", "COLUMNS")
PACKAGE = Path(__file__).parents[1]
Run = Callable[[list[str], Path, dict[str, str]], "subprocess.CompletedProcess[str]"]


def _run(
    words: list[str], directory: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Run durable-otp with these words to its end."""
    return subprocess.run(
        [*PROGRAM, *words],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


class Stage:
    """A directory with a configuration and workflows, a database, and the nodes started there.

    What `type` runs is shown with its output in `shown`; what `ask` runs is not.
    """

    def __init__(
        self, directory: Path, dsn: str, schema: str, workflows: str, run: Run = _run
    ) -> None:
        self._run = run
        self.directory = directory
        self.shown: list[str] = []
        self.durable = Durable(dsn, schema=schema)
        self._environment = {k: v for k, v in os.environ.items() if k not in LEFT_OUT}
        self._environment |= {"DURABLE_DSN": dsn}
        self._schema = schema
        (directory / "shop.py").write_text(workflows, encoding="utf-8")

    def close(self) -> None:
        """Close the connections."""
        self.durable.close()

    @contextmanager
    def node(self, sections: str, name: str = "shop") -> Iterator["subprocess.Popen[bytes]"]:
        """Run a node on a configuration; kill what is left of it afterwards."""
        config = self.directory / f"{name}.toml"
        durable = f'[durable]\nname = "{name}"\nworkflows = ["shop"]\nschema = "{self._schema}"\n'
        config.write_text(durable + sections, encoding="utf-8")
        log = self.directory / f"{name}.log"
        with log.open("wb") as file:
            root = subprocess.Popen(
                [*PROGRAM, "start", config.name],
                cwd=self.directory,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        try:
            self.until(lambda: "node_started" in log.read_text(), f"the start of {name}")
            yield root
        finally:
            with suppress(ProcessLookupError):
                os.killpg(root.pid, signal.SIGKILL)
            root.wait()

    def ask(self, *words: str) -> str:
        """Run a command of durable-otp; return what it printed, with short paths."""
        ended = self._run([*words, "--schema", self._schema], self.directory, self._environment)
        output = (ended.stdout + ended.stderr).strip()
        for path in (f"{self.directory}/", f"{PACKAGE}/"):
            output = output.replace(path, "")
        return "\n".join(line.rstrip() for line in output.splitlines())

    def type(self, *words: str, lines: Callable[[str], bool] = bool) -> str:
        """Run a command and show it with its output, or with those lines of it."""
        output = self.ask(*words)
        self.show(f"$ durable-otp {' '.join(map(quoted, words))}")
        self.shown += [line for line in output.splitlines() if lines is bool or lines(line)]
        return output

    def show(self, *lines: str) -> None:
        """Show lines."""
        self.shown += lines

    def kill(self, pid: int) -> None:
        """Kill a process and show how."""
        os.kill(pid, signal.SIGKILL)
        self.show(f"$ kill -9 {pid}")

    def worker(self, execution_id: str, *, but: int = 0) -> int:
        """Return the process that runs the charge of an order, other than that, once it does."""

        def found() -> int:
            working = (
                process.pid or 0
                for node in self.durable.nodes(watch=True)
                for process in node.processes
                if process.execution_id == execution_id and process.step == "charge"
            )
            return next((pid for pid in working if pid != but), 0)

        return self.until(found, "worker that has it")

    def until(self, condition: Callable[[], Answer], what: str) -> Answer:
        """Return what a condition says, once that is something.

        Raises:
            TimeoutError: It was nothing for 90 seconds.
        """
        end = time.monotonic() + PATIENCE
        while not (answer := condition()):
            if time.monotonic() > end:
                raise TimeoutError(f"No {what} within {PATIENCE:.0f} s.")
            time.sleep(0.05)
        return answer


def quoted(word: str) -> str:
    """Return a word as it is typed."""
    return f"'{word}'" if re.search(r"[^\w./:-]", word) else word


def alike(text: str) -> str:
    """Return a session without what differs from run to run: ids, pids, times, columns."""
    for pattern, name in (
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]+", "ID"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ", "TIME"),
        (r"(?m)^(held by +).*", r"\1NODE"),
        (r"kill -(9|TERM) \d+", r"kill -\1 PID"),
        (r"\d+ +up +(\d+) +[\d:]+ +(-|\d+%) +(-|\d+MB)", r"PID up \1"),
        (r"\b\d+(\.\d+)?(ms|s)\b", "DURATION"),
        (r"\b\d+(KB|MB)\b", "SIZE"),
    ):
        text = re.sub(pattern, name, text)
    return "\n".join(" ".join(line.split()) for line in text.splitlines())

"""How long from the SIGKILL of a worker until its execution runs again?

A real tree; one execution after another. The body writes the moment it begins (CLOCK_MONOTONIC is
the same for all processes) and waits; it is killed, and the next attempt's moment ends the clock.
Two committed statements lie between: the new lock token, and the crashed attempt.

    python -m bench.recovery [--kills 200]
"""

import argparse
import os
import signal
import tempfile
from pathlib import Path
from time import monotonic, sleep

from bench.setting import conditions, database, milliseconds, note, say, schema
from durable_otp import Durable, Runtime, Workflow

LOOK_EVERY = 0.0005


def workflow(journal: Path) -> Workflow:
    """Return a workflow whose first attempt waits to be killed."""
    recovering = Workflow("recovering")

    @recovering.step
    def wait_to_be_killed(ctx):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        line = f"{monotonic()} {os.getpid()} {ctx.attempt}\n"
        with journal.open("a") as file:
            file.write(line)
        if ctx.attempt == 1:
            signal.pause()

    return recovering


def lines_of(journal: Path, wanted: int) -> list[list[str]]:
    """Wait for so many lines."""
    while True:
        text = journal.read_text() if journal.exists() else ""
        lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        if len(lines) >= wanted:
            return lines
        sleep(LOOK_EVERY)


def kill_once(durable: Durable, recovering: Workflow, journal: Path) -> float:
    """Return the seconds from one kill to the body running again."""
    journal.write_text("")
    handle = durable.start(recovering)
    _, pid, _ = lines_of(journal, 1)[0]
    killed = monotonic()
    os.kill(int(pid), signal.SIGKILL)
    began, _, attempt = lines_of(journal, 2)[1]
    handle.result(timeout=60)
    if attempt != "2" or len(lines_of(journal, 2)) != 2:
        raise SystemExit(f"the body ran {lines_of(journal, 2)}, not exactly twice")
    return float(began) - killed


def main() -> None:
    """Kill, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn")
    parser.add_argument("--kills", type=int, default=200)
    options = parser.parse_args()
    with (
        database(options.dsn) as dsn,
        schema(dsn) as name,
        tempfile.TemporaryDirectory() as directory,
    ):
        say({"bench": "conditions", **conditions(dsn)})
        journal = Path(directory) / "journal"
        recovering = workflow(journal)
        settings = {"dsn": dsn, "schema": name, "queues": {"default": 2}}
        with Runtime(workflows=[recovering], **settings), Durable(dsn, schema=name) as durable:
            took = []
            for number in range(options.kills):
                took.append(kill_once(durable, recovering, journal))
                if number % 50 == 49:
                    note(f"{number + 1} kills")
            failed = durable.count_executions(status="failed")
        say({"bench": "recovery", "kills": len(took), "lost": failed, **milliseconds(took)})


if __name__ == "__main__":
    main()

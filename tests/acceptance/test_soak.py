"""A minute of chaos on two nodes: nothing is lost, nothing doubled, no invariant broken.

The seed is the commit's, so that each commit is tried by other blows. A failure prints it, and
DURABLE_SOAK_SEED has a run repeated.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.soak.nemesis import KINDS

ROOT = Path(__file__).parents[2]
SECONDS, EVERY = 36, 1.12
"""Time enough for every kind once."""


def seed():
    given = os.environ.get("DURABLE_SOAK_SEED")
    if given:
        return given
    words = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no commit"


@pytest.mark.timeout(300)
def test_a_minute_of_chaos_loses_and_doubles_nothing(tmp_path):
    report = tmp_path / "soak.json"
    words = [f"--seconds={SECONDS}", f"--every={EVERY}", f"--seed={seed()}", f"--report={report}"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.soak", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.stderr[-6000:]}\n{done.stdout}"
    run = json.loads(report.read_text())
    found = run["found"]
    assert sum(found["executions"].values()) > 40, found
    assert (found["lost"], found["unexpected"], found["doubled"]) == (0, 0, 0)
    struck = {fault["kind"] for fault in run["faults"]}
    assert len(struck) >= 0.8 * (len(KINDS) - len(run["missing"])), sorted(struck)

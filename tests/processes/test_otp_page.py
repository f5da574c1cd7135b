"""The example of docs/supervision.md runs, and prints what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "supervision.md"


def block(language: str) -> str:
    """Return the page's first block of code in a language."""
    return re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL).group(1)


def test_the_example_runs_as_a_script_and_prints_what_the_page_says(tmp_path: Path) -> None:
    script = tmp_path / "station.py"
    script.write_text(block("python"))
    measured = tmp_path / "measured"
    measured.mkdir()
    ended = subprocess.run(
        [sys.executable, "-W", "error", script],
        env={**os.environ, "STATION": str(measured)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    printed, promised = ended.stdout.splitlines(), block("text").splitlines()
    assert [line for line in printed if line[0].isdigit()] == [
        line for line in promised if line[0].isdigit()
    ]
    assert sorted(printed) == sorted(promised)  # the host's own line comes from another thread
    assert {path.name for path in measured.iterdir()} >= {"sensor-in", "sensor-out", "readings"}

"""The example of docs/scheduling.md runs, and prints what the page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "scheduling.md"


def block(language: str) -> str:
    """Return the page's first block of code in a language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_runs_as_a_script_and_prints_what_the_page_says(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    script = tmp_path / "reports.py"
    code = block("python")
    assert 'SCHEMA = "reports"' in code
    script.write_text(code.replace('"reports"', f'"{schema}"'))
    ended = subprocess.run(
        [sys.executable, "-W", "error", script],
        env={**os.environ, "DURABLE_DSN": dsn},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == block("text")

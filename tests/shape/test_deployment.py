"""What `docs/deployment/` holds is understood by the programs that it is written for."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "deployment"
THEIRS = "/srv/app/.venv/bin/durable-otp"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    text = (PAGES / "durable-otp.service").read_text()
    assert THEIRS in text
    unit = tmp_path / "durable-otp.service"
    unit.write_text(text.replace(THEIRS, sys.executable))  # the program has to be there
    asked = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    unit.write_text(unit.read_text().replace("KillMode=mixed", "KillMode=sometimes"))
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert "kill mode" in done.stderr  # it would have said so

"""The guides that are programs: their blocks, one after the other, run and do what they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
TWO_ORDERS_AND_A_LOOP = """
import os
from durable_otp import Durable, Runtime

if __name__ == "__main__":
    dsn, schema = os.environ["DURABLE_DSN"], os.environ["GUIDE_SCHEMA"]
    with (
        Runtime(dsn=dsn, schema=schema, workflows=[order, fetch], queues={"default": 2}),
        Durable(dsn, schema=schema) as durable,
    ):
        for grams in (40_000, 500):
            result = durable.start(order, {"items": [{"grams": grams}]}).result(timeout=30)
            print(result["carrier"], result["confirmed"])
        print(durable.start(fetch, {"pages": 3}).result(timeout=30)["fetched"][-1])
"""


def blocks(page: str, language: str) -> str:
    """Return all of a page's blocks in a language."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return "\n".join(re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


def printed(script: Path, code: str, **environment: str) -> str:
    """Run a script and return what it printed."""
    script.write_text(code, encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-W", "error", script],
        env=os.environ | environment,
        cwd=script.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def test_the_agent_runs_and_prints_what_the_page_says(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    code = blocks("ai-agents.md", "python")
    assert 'SCHEMA = "agents"' in code
    code = code.replace('"agents"', f'"{schema}"')
    assert printed(tmp_path / "agents.py", code, DURABLE_DSN=dsn) == blocks("ai-agents.md", "text")


def test_the_branches_and_loops_lead_where_the_page_says(
    dsn: str, schema: str, tmp_path: Path
) -> None:
    code = blocks("branching.md", "python") + TWO_ORDERS_AND_A_LOOP
    said = printed(tmp_path / "orders.py", code, DURABLE_DSN=dsn, GUIDE_SCHEMA=schema)
    assert said == "truck True\npost True\npage 3 of 3\n"

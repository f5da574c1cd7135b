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

A_PARCEL_AND_A_PAYMENT = """
import os
from durable_otp import Durable, Runtime

newsletter = Workflow("newsletter")
newsletter.step(name="write")(lambda ctx: {"text": ctx["topic"]})

if __name__ == "__main__":
    dsn, schema = os.environ["DURABLE_DSN"], os.environ["GUIDE_SCHEMA"]
    known = [parcel, payment, order, newsletter]
    queues = {"default": 2, "slow": 1}
    with (
        Runtime(dsn=dsn, schema=schema, workflows=known, queues=queues),
        Durable(dsn, schema=schema) as durable,
    ):
        sent = durable.start(parcel, {"items": ["a lamp", "a kettle"]}).result(timeout=30)
        print(sent["customer"], sent["pack"])
        ordered = durable.start(order)
        print(ordered.result(timeout=30)["receipt"])
        print([child.workflow for child in durable.list_children(ordered.id)])
        (letter,) = durable.list_executions("newsletter")
        print(letter.parent_id)
"""
A_PAYMENT_AND_AN_ANSWER = """
import os
import time
from durable_otp import Durable, Runtime

if __name__ == "__main__":
    dsn, schema = os.environ["DURABLE_DSN"], os.environ["GUIDE_SCHEMA"]
    with (
        Runtime(dsn=dsn, schema=schema, workflows=[order, shop], queues={"default": 2}),
        Durable(dsn, schema=schema) as durable,
    ):
        handle = durable.start(order, {"number": 7})
        handle.send_event("paid", {"amount": 20})
        while not (asked := durable.list_pending_inputs(handle.id)):
            time.sleep(0.05)
        print(asked[0].prompt)
        handle.provide_input("manager", "approved")
        result = handle.result(timeout=30)
        print(result["payment"], result["decision"])
        other = durable.start(shop, {"number": 3})
        other.send_event("order-3", "cash")
        print(other.result(timeout=30)["paid"])
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


def test_blocks_and_calls_give_what_their_pages_say(dsn: str, schema: str, tmp_path: Path) -> None:
    code = blocks("parallel.md", "python") + "\nparcel = order\n"
    code += blocks("orchestration.md", "python") + A_PARCEL_AND_A_PAYMENT
    said = printed(tmp_path / "parcels.py", code, DURABLE_DSN=dsn, GUIDE_SCHEMA=schema)
    assert said == "Ada ['0: a lamp', '1: a kettle']\n17\n['payment']\nNone\n"


def test_waits_are_answered_as_their_page_says(dsn: str, schema: str, tmp_path: Path) -> None:
    code = blocks("waiting.md", "python")
    client = re.compile(r"^with Durable\(.*?\n(?=\S|$)(?! )", re.MULTILINE | re.DOTALL)
    code = client.sub("", code) + A_PAYMENT_AND_AN_ANSWER
    said = printed(tmp_path / "waiting.py", code, DURABLE_DSN=dsn, GUIDE_SCHEMA=schema)
    assert said == "Ship order 7?\n{'amount': 20} approved\ncash\n"

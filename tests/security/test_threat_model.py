"""S-9, S-15: what is not promised is said, and what is has a test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PAGE = (ROOT / "docs/security.md").read_text(encoding="utf-8")
ITEMS = [f"S-{number}" for number in range(1, 16)]


def named(text: str) -> set[str]:
    return set(re.findall(r"\bS-\d+\b", text))


def test_every_item_of_the_list_has_tests_that_name_it() -> None:
    tested: set[str] = set()
    for path in HERE.glob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        tested |= named(ast.get_docstring(tree) or "")
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                tested |= named(ast.get_docstring(node) or "")
    assert set(ITEMS) <= tested


def test_the_page_says_what_holds_of_every_item() -> None:
    """S-15: the threat model names them all."""
    assert set(ITEMS) <= named(PAGE)


def test_the_page_says_who_may_do_what_by_writing_to_the_tables() -> None:
    """S-15: any registered workflow with any input, and nothing else (see test_data_is_data)."""
    assert "can have any *registered* workflow run with any input" in " ".join(PAGE.split())


def test_the_page_says_that_queues_are_no_walls() -> None:
    """S-9: there is no row-level option, so nobody may believe that there is."""
    assert "no isolation between queues, workflows or tenants" in PAGE
    for path in (ROOT / "migrations").glob("*.sql"):
        assert "ROW LEVEL SECURITY" not in path.read_text(encoding="utf-8").upper()

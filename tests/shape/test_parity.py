"""docs/parity.md against reality: every number is there once, and every test it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
NUMBERS = {*range(1, 243), *range(248, 288)}  # 243 to 247 were never given
ROW = re.compile(r"^\| S-(\d+) \| (.+?) \| (.*?) \|$", re.MULTILINE)
NAMED = re.compile(r"`([a-z]+/test_\w+)::(test_\w+)`")
ROWS = [(int(number), what, shown) for number, what, shown in ROW.findall(PAGE)]
EXPLAINED = ("Differs: ", "Does not apply: ")


def test_every_number_has_one_row():
    numbers = [number for number, _, _ in ROWS]
    assert sorted(numbers) == sorted(NUMBERS)
    assert len(ROWS) == len(re.findall(r"^\| S-", PAGE, re.MULTILINE))


def test_a_row_names_a_test_or_says_why_there_is_none():
    for number, what, shown in ROWS:
        assert NAMED.search(shown) or what.startswith(EXPLAINED), number
        assert NAMED.sub("", shown).strip(", -") == "", number


@pytest.mark.parametrize("module", sorted({module for module, _ in NAMED.findall(PAGE)}))
def test_every_test_that_is_named_exists(module):
    source = (ROOT / "tests" / f"{module}.py").read_text(encoding="utf-8")
    there = set(re.findall(r"^(?:async )?def (test_\w+)", source, re.MULTILINE))
    assert {test for name, test in NAMED.findall(PAGE) if name == module} <= there

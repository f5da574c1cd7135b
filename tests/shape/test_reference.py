"""The generated parts of the pages are as the code is, and the site knows every page and name."""

import re
from pathlib import Path

import pytest

import durable_otp
from docs.generate import DOCS, between, pages
from durable_otp import otp, testing
from durable_otp.config import reference

ROOT = Path(__file__).parents[2]
SITE = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
NAMED = re.compile(r"^::: durable_otp\.(\S+)$", re.MULTILINE)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_a_page_is_as_the_code_says(page):
    assert page.read_text(encoding="utf-8") == pages()[page], "run python -m docs.generate"


def test_a_key_or_verb_that_changes_makes_its_page_stale():
    path = DOCS / "configuration.md"
    older = path.read_text(encoding="utf-8").replace("| `schema` | text |", "| `schema` | number |")
    assert older != pages()[path]


def test_a_page_without_its_marks_is_refused():
    with pytest.raises(ValueError, match="A page needs the lines"):
        between("# A page\n", "keys", "| key |")


def test_every_key_has_a_meaning():
    assert [row.key for row in reference() if not row.meaning.endswith(".")] == []


def test_every_public_name_is_in_the_reference_once():
    named = sorted(
        name
        for page in sorted((DOCS / "reference").glob("*.md"))
        for name in NAMED.findall(page.read_text(encoding="utf-8"))
    )
    tested = [f"testing.{name}" for name in testing.__all__]
    assert named == sorted([*durable_otp.__all__, *tested, "dashboard.app", "otp"])


def test_every_public_name_says_what_it_is():
    public = [(durable_otp, name) for name in durable_otp.__all__]
    public += [(testing, name) for name in testing.__all__]
    public += [(otp, name) for name in otp.__all__ if callable(getattr(otp, name))]
    assert [name for module, name in public if not getattr(module, name).__doc__] == []


def test_every_page_is_in_the_navigation_of_the_site():
    known = set(re.findall(r"(\S+\.md)$", SITE, re.MULTILINE))
    assert known - {"bench/README.md", "CHANGELOG.md"} == {
        str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")
    }


def test_the_gate_builds_the_site():
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert 'step "$bin/mkdocs" build --strict' in gate

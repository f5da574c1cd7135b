"""The guides against the package: what their code imports exists, and each one is found."""

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def imports(page):
    """Return every name that a page's code takes from the package, with its module."""
    for code in BLOCK.findall(page.read_text(encoding="utf-8")):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("durable_otp"):
                yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_imports_exists(page):
    for module, name in imports(page):
        assert hasattr(import_module(module), name), (module, name)


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: page.name)
def test_every_page_is_linked_from_the_readme(page):
    assert f"(docs/{page.name})" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_module_of_the_package_that_a_page_names_exists(page):
    for module in re.findall(r"`durable_otp\.examples\.(\w+)`", page.read_text(encoding="utf-8")):
        import_module(f"durable_otp.examples.{module}")


def test_the_tour_of_the_readme_is_a_workflow_that_can_be_registered():
    (tour,) = (code for code in BLOCK.findall(README) if "send_parcel" in code)
    namespace = {}
    exec(compile(tour, "README.md", "exec"), namespace)
    described = namespace["parcel"].definition().description()
    kinds = [node["kind"] for node in described["nodes"]]
    assert kinds == ["parallel", "each", "decision", "step", "step", "branch"]

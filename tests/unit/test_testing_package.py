"""`durable_otp.testing` has two names, and imports them when they are asked for."""

import ast
from pathlib import Path

import pytest

from durable_otp import testing

STUB = Path(testing.__file__).with_suffix(".pyi")


def test_the_names_are_those_of_the_stub():
    imported = [
        alias.asname
        for node in ast.walk(ast.parse(STUB.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert sorted(imported) == testing.__all__ == ["WorkflowTester", "run_inline"]
    assert set(testing.__all__) <= set(dir(testing))
    for name in testing.__all__:
        assert getattr(testing, name).__doc__


def test_another_name_is_none():
    with pytest.raises(AttributeError, match="run_online"):
        testing.run_online  # noqa: B018 - the access is what is tested

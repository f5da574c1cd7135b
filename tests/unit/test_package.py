"""The package's own names: imported when asked for, the same for people and for type checkers."""

import ast
from pathlib import Path

import pytest

import durable_otp


def test_every_public_name_is_there():
    for name in durable_otp.__all__:
        assert getattr(durable_otp, name) is not None
    assert set(durable_otp.__all__) <= set(dir(durable_otp))


def test_no_other_name_is():
    with pytest.raises(AttributeError, match="has no attribute 'Durabel'"):
        durable_otp.Durabel  # noqa: B018 - the look itself is tested


def test_type_checkers_see_the_same_list():
    body = ast.parse(Path(durable_otp.__file__).with_suffix(".pyi").read_text()).body
    imported = {a.name for node in body if isinstance(node, ast.ImportFrom) for a in node.names}
    (listed,) = (ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign))
    assert listed == durable_otp.__all__
    assert imported == set(listed)

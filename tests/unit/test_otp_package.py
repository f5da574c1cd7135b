"""The package's face: one list of names, each imported only when it is asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import durable_otp.otp

HEAVY = ("asyncio", "multiprocess", "dill", "durable_otp.otp.process", "durable_otp.otp.host")

LIGHT = """
import sys, types
bare = types.ModuleType("durable_otp")  # the distribution's own face imports everything
bare.__path__ = [sys.argv[1]]
sys.modules["durable_otp"] = bare
import durable_otp.otp.program
print(*sys.modules)
"""


def test_every_name_of_the_list_is_there() -> None:
    for name in durable_otp.otp.__all__:
        assert getattr(durable_otp.otp, name) is not None
    assert set(durable_otp.otp.__all__) <= set(dir(durable_otp.otp))


def test_no_other_name_is() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Supervizor'"):
        durable_otp.otp.Supervizor  # noqa: B018 - the look itself is tested


def test_type_checkers_see_the_same_list() -> None:
    stub = Path(durable_otp.otp.__file__).with_suffix(".pyi")
    body = ast.parse(stub.read_text()).body
    imported = {a.name for node in body if isinstance(node, ast.ImportFrom) for a in node.names}
    (listed,) = (ast.literal_eval(n.value) for n in body if isinstance(n, ast.Assign))
    assert listed == durable_otp.otp.__all__
    assert imported == set(listed)


def test_running_a_program_imports_no_supervision() -> None:
    package = Path(durable_otp.__file__).parent
    command = [sys.executable, "-c", LIGHT, str(package)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in HEAVY if name in modules] == []

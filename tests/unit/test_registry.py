"""The registry knows workflows by name and version, from objects and from modules."""

import itertools
import sys

import pytest

from durable_otp.errors import ConfigError, DefinitionError, WorkflowNotFound
from durable_otp.workflow.builder import Workflow
from durable_otp.workflow.registry import Registry

numbers = itertools.count()


def make(name="order", version="1", body=None):
    workflow = Workflow(name, version=version)
    workflow.step(name="only")(body or (lambda ctx: ctx))
    return workflow


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make an importable module of this text, of a name no other test uses."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made = []

    def write(text):
        name = f"registry_module_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return name

    yield write
    for name in made:
        sys.modules.pop(name, None)


TWO = """
from durable_otp.workflow.builder import Workflow

first = Workflow("first")
first.step(name="only")(lambda ctx: 1)
same = first

class Holder:
    second = Workflow("second")
    second.step(name="only")(lambda ctx: 2)

third = Workflow("third", version="2")
third.step(name="only")(lambda ctx: 3)
"""


def test_the_newest_version_is_the_one_registered_last():
    registry = Registry()
    registry.register(make(version="2"))
    registry.register(make(version="1"))
    assert registry.known() == [("order", "2"), ("order", "1")]
    assert registry.get("order").version == "1"
    assert registry.get("order", "2").version == "2"


def test_what_is_not_known_is_not_found():
    registry = Registry()
    registry.register(make())
    for arguments, named in ([("other",), "'other'"], [("order", "9"), "'order' version '9'"]):
        with pytest.raises(WorkflowNotFound, match=named):
            registry.get(*arguments)


def test_the_same_workflow_may_be_registered_again():
    registry = Registry()
    workflow = make()
    assert registry.register(workflow) is registry.register(workflow)
    assert registry.register(make()) is workflow.definition()


def test_another_of_the_same_name_and_version_is_refused():
    registry = Registry()
    registry.register(make())
    with pytest.raises(DefinitionError, match="defined twice and differently"):
        registry.register(make(body=lambda: 5))
    with pytest.raises(DefinitionError, match="no steps"):
        registry.register(Workflow("empty"))


def test_a_module_gives_its_top_level_workflows(module):
    registry = Registry()
    name = module(TWO)
    registry.load([name, make()])
    assert registry.known() == [("first", "1"), ("third", "2"), ("order", "1")]
    registry.load([f"{name}:Holder.second", f"{name}:first"])
    assert registry.known()[-1] == ("second", "1")


def test_a_module_that_cannot_be_imported_is_one_sentence(module):
    for text, reason in [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def", "SyntaxError"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
    ]:
        name = module(text)
        with pytest.raises(ConfigError) as refused:
            Registry().load([name])
        assert reason in str(refused.value)
        assert name in str(refused.value)
        assert "\n" not in str(refused.value)


def test_a_wrong_workflow_in_a_module_is_said_as_it_is(module):
    text = 'from durable_otp.workflow.builder import Workflow\nWorkflow("")\n'
    with pytest.raises(DefinitionError, match="must not be empty"):
        Registry().load([module(text)])


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("no_module_of_this_name", "cannot be imported"),
        ("", "must be"),
        ("a/b.py", "must be"),
        (".relative", "must be"),
        ("json", "no Workflow at its top level"),
        ("json:loads", "a function there"),
        ("json:nothing", "no such attribute"),
        (5, "not 5"),
    ],
)
def test_what_names_no_workflow_is_refused(item, said):
    with pytest.raises(ConfigError, match=said):
        Registry().load([item])

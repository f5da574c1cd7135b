"""Specifications are checked before anything starts."""

from typing import Any

import pytest

from durable_otp.otp import (
    ChildSpec,
    DynamicSupervisorSpec,
    InvalidSpec,
    SupervisorFlags,
    SupervisorSpec,
)


def program(_: Any) -> None:
    """Do nothing."""


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("strategy", "one_for_some"),
        ("intensity", -1),
        ("intensity", "3"),
        ("period", 0),
        ("auto_shutdown", "sometimes"),
        ("on_exceeded", "panic"),
    ],
)
def test_a_wrong_flag_is_named(flag: str, value: Any) -> None:
    with pytest.raises(InvalidSpec, match=f"^{flag} is not allowed to be {value!r}; use ") as error:
        SupervisorSpec(SupervisorFlags(**{flag: value})).check()
    assert (error.value.what, error.value.value) == (flag, value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "a/b"),
        ("start", None),
        ("restart", "always"),
        ("shutdown", -1),
        ("shutdown", "never"),
        ("shutdown", True),
        ("type", "daemon"),
    ],
)
def test_a_wrong_field_is_named(field: str, value: Any) -> None:
    fields = {"id": "a", "start": program, field: value}
    with pytest.raises(InvalidSpec, match=f"^{field} is not allowed"):
        SupervisorSpec(SupervisorFlags(), [ChildSpec(**fields)]).check()


def test_significant_children_need_a_supervisor_that_cares() -> None:
    child = ChildSpec("a", program, restart="transient", significant=True)
    with pytest.raises(InvalidSpec, match="auto_shutdown"):
        SupervisorSpec(SupervisorFlags(), [child]).check()
    SupervisorSpec(SupervisorFlags(auto_shutdown="any_significant"), [child]).check()
    permanent = ChildSpec("a", program, significant=True)
    with pytest.raises(InvalidSpec, match="restart of a significant child"):
        SupervisorSpec(SupervisorFlags(auto_shutdown="any_significant"), [permanent]).check()


def test_two_children_have_two_ids() -> None:
    children = [ChildSpec("a", program), ChildSpec("a", program)]
    with pytest.raises(InvalidSpec, match="an id that no other child has"):
        SupervisorSpec(SupervisorFlags(), children).check()


def test_a_nested_supervisor_is_one_by_default_and_gets_all_the_time_it_needs() -> None:
    inner = SupervisorSpec(SupervisorFlags(), [ChildSpec("x", program)])
    assert (ChildSpec("n", inner).type, ChildSpec("n", inner).shutdown) == (
        "supervisor",
        "infinity",
    )
    assert (ChildSpec("w", program).type, ChildSpec("w", program).shutdown) == ("worker", 5.0)
    template = ChildSpec("n", DynamicSupervisorSpec(ChildSpec("w", program)))
    assert template.type == "supervisor"

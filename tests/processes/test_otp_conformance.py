"""The supervisor does what Erlang's does: the same trace for every scenario, in real processes."""

import json
from pathlib import Path

import pytest

from tests.support.otp_scenarios import play


def test_the_trace_is_the_one_of_otp(otp_scenario: Path, tmp_path: Path) -> None:
    expected = otp_scenario.parent.parent / "expected" / f"{otp_scenario.stem}.trace"
    trace = play(json.loads(otp_scenario.read_text()), tmp_path)
    assert trace.splitlines() == expected.read_text().splitlines()


def test_there_are_scenarios(request: pytest.FixtureRequest) -> None:
    directory: Path = request.config.getoption("otp_scenarios")
    assert any((directory / "scenarios").glob("*.json")), f"no scenarios in {directory}"

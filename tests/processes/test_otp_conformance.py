"""The supervisor does what Erlang's does: the same trace for every scenario, in real processes.

``--otp-scenarios=DIR`` plays other scenarios: DIR/scenarios/*.json and DIR/expected/*.trace.
"""

import json
from pathlib import Path

import pytest

from tests.support.otp_random_scenarios import scenario
from tests.support.otp_scenarios import play


def test_the_trace_is_the_one_of_otp(otp_scenario: Path, tmp_path: Path) -> None:
    expected = otp_scenario.parent.parent / "expected" / f"{otp_scenario.stem}.trace"
    trace = play(json.loads(otp_scenario.read_text()), tmp_path)
    assert trace.splitlines() == expected.read_text().splitlines()


def test_there_are_scenarios(request: pytest.FixtureRequest) -> None:
    directory: Path = request.config.getoption("otp_scenarios")
    assert any((directory / "scenarios").glob("*.json")), f"no scenarios in {directory}"


@pytest.mark.parametrize("seed", [3, 17, 29])
def test_a_random_scenario_has_one_outcome(seed: int, tmp_path: Path) -> None:
    made = scenario(seed)
    traces = []
    for round_number in range(2):
        directory = tmp_path / str(round_number)
        directory.mkdir()
        traces.append(play(made, directory))
    assert traces[0] == traces[1]
    started, stopped = (
        sorted(line.split()[1:3] for line in traces[0].splitlines() if line.startswith(word))
        for word in ("started ", "stopped ")
    )
    assert started == stopped

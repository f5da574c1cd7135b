"""Options of the tests with real processes, and trees that do not outlive their test."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from durable_otp.otp import ChildSpec, Supervisor, SupervisorFlags
from tests.support.otp_programs import Grow, Story

_OWN = Path(__file__).parent / "otp_scenarios"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--otp-scenarios",
        type=Path,
        default=_OWN,
        metavar="DIR",
        help="where scenarios/*.json and expected/*.trace of OTP's supervisor are",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "otp_scenario" in metafunc.fixturenames:
        scenarios = sorted(
            (metafunc.config.getoption("otp_scenarios") / "scenarios").glob("*.json")
        )
        metafunc.parametrize("otp_scenario", scenarios, ids=lambda path: path.stem)


@pytest.fixture
def grow() -> Iterator[Grow]:
    """Start trees that are stopped, at the latest, at the end of the test."""
    with ExitStack() as stack:

        def start(*children: ChildSpec, **options: Any) -> tuple[Supervisor, Story]:
            story = Story()
            flags = options.pop("flags", SupervisorFlags(intensity=1000))
            supervisor = Supervisor(flags, children, on_event=story.append, **options)
            stack.callback(lambda: supervisor.stop(5))
            return supervisor.start(), story

        yield start

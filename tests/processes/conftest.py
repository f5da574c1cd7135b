"""Options of the tests with real processes."""

from pathlib import Path

import pytest

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

"""What travels with code that is carried to another process, and what does not."""

import importlib
import sys
from pathlib import Path

import pytest

from durable_otp.otp import by_value

SHOP = """
import sys

SCREEN = open(__file__)
prices = {"tea": 3}
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A module of a project that lies on the search path, holding an open file."""
    (tmp_path / "shop_of_a_test.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("shop_of_a_test")
    sys.modules.pop("shop_of_a_test").SCREEN.close()


def test_a_module_travels_as_its_name_and_keeps_its_state_where_it_arrives(shop) -> None:
    def price() -> int:
        return shop.prices["tea"]

    packed = by_value.pack(price, "price", {__name__})
    shop.prices = {"tea": 4}  # as another process may have it
    assert by_value.unpack(packed)() == 4


def test_a_module_may_hold_what_cannot_be_carried(shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.SCREEN.close()
    shop.SCREEN = sys.stdout

    def screen():
        return shop.SCREEN

    assert by_value.unpack(by_value.pack(screen, "screen", {__name__}))() is shop.SCREEN

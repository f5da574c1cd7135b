"""What a scenario may use of the site that it is played on."""

from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from durable_otp import Durable, Runtime
from tests.support.ledger import Ledger


class World(Protocol):
    """What a scenario may use: nothing of it goes through the proxy."""

    durable: Durable
    ledger: Ledger
    runtime: Runtime
    done: set[str]
    """What a scenario has done once already in this run."""
    scratch: Path

    def advance(self, by: timedelta) -> None:
        """Move the schema's clock."""

    def given(self, key: str, **more: Any) -> dict[str, Any]:
        """Return the input of an execution that is known by a key."""

"""``python -m durable_otp.runtime.root_program``: the root of ``durable-otp start``.

The command becomes it by exec (`foreground`). Every process of the tree is forked from it, so it
imports what they need and nothing that only the command did: no settings, no command line.
"""

import contextlib
import gc
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import StartFailed, run_root
from durable_otp.otp.cargo import unpack

VARIABLE = "DURABLE_OTP_FOREGROUND"
FAILED = 1
MISCONFIGURED = 2


@dataclass(frozen=True)
class Orders:
    """What the root is told.

    Attributes:
        cargo: The tree, packed.
        paths: Where modules are looked for before anywhere else.
        users_lock: The descriptor that keeps the private server up; None without one.
        server: That server's directory.
    """

    cargo: bytes
    paths: list[str]
    users_lock: int | None
    server: str | None

    def written(self) -> str:
        """Return the text that ``read`` understands; the cargo lies in a file without a name."""
        descriptor = os.memfd_create("durable-otp-cargo", 0)  # 0: it is there after the exec
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(self.cargo)
        os.lseek(descriptor, 0, os.SEEK_SET)
        return json.dumps(asdict(self) | {"cargo": descriptor})

    @classmethod
    def read(cls, text: str) -> Self:
        """Return what was written, and close its file."""
        fields = json.loads(text)
        with os.fdopen(fields["cargo"], "rb") as file:
            return cls(**fields | {"cargo": file.read()})


def main() -> int:
    """Be the root until told to stop; return the exit code."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        sys.stderr.write("This is a part of durable-otp; run `durable-otp start CONFIG`.\n")
        return MISCONFIGURED
    orders = Orders.read(text)
    if orders.users_lock is not None:
        os.set_inheritable(orders.users_lock, False)  # noqa: FBT003 - it takes no keyword
    try:
        return _run(orders)
    except StartFailed as error:
        sys.stderr.write(f"{error.failure.text or error}\n")
        return MISCONFIGURED if error.failure.fatal else FAILED
    finally:
        _leave_nothing_behind(orders)


def _run(orders: Orders) -> int:
    own_path = [*orders.paths, *sys.path]
    gc.disable()  # what is imported now stays; looking through it again and again is dear
    cargo = unpack(orders.cargo)
    gc.enable()
    sys.path[:] = own_path
    return run_root(cargo.spec, cargo.hooks, title=cargo.title)


def _leave_nothing_behind(orders: Orders) -> None:
    """As the first process of a container, stop the private server: nobody will be left to."""
    if os.getpid() == 1 and orders.users_lock is not None and orders.server is not None:
        from durable_otp.storage import embedded  # noqa: PLC0415 - dear, and needed only here

        os.close(orders.users_lock)
        with contextlib.suppress(EmbeddedServerError):  # somebody else uses it
            embedded.stop(Path(orders.server))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m durable_otp.runtime.foreground``: the root of ``durable-otp start``.

Starting needs threads, imports and a database; a root must have none of them. So the command
prepares everything and then becomes this program by exec: the same process id, a new interpreter.
What it has to know travels in the environment, where a password is safe from other users, and is
taken out of it at once.
"""

import contextlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from durable_otp.config import Config
from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import StartFailed, program, run_root
from durable_otp.runtime import tree
from durable_otp.runtime.carried import carry
from durable_otp.runtime.runtime import hooks_of
from durable_otp.runtime.service_manager import ServiceHooks, service_manager
from durable_otp.runtime.starting import Prepared
from durable_otp.storage import embedded
from durable_otp.storage.identity import new_id

VARIABLE = "DURABLE_OTP_FOREGROUND"
FAILED = 1
MISCONFIGURED = 2


def become_root(config: Config, prepared: Prepared, paths: list[str]) -> NoReturn:
    """Become the root of a tree; modules are looked for in ``paths`` before anywhere else."""
    server = prepared.server
    orders = {
        "config": config.model_dump(mode="json", by_alias=True),
        "dsn": prepared.dsn,
        "paths": paths,
        "users_lock": None if server is None else server.keep_across_exec(),
        "server": None if server is None else str(server.directory),
    }
    sys.stdout.flush()
    sys.stderr.flush()
    program.replace(
        [sys.executable, "-P", "-m", "durable_otp.runtime.foreground"],
        environment=os.environ | {VARIABLE: json.dumps(orders)},
        hold_signals=True,
    )


def main() -> int:
    """Be the root until told to stop; return the exit code."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        sys.stderr.write("This is a part of durable-otp; run `durable-otp start CONFIG`.\n")
        return MISCONFIGURED
    orders = json.loads(text)
    if orders["users_lock"] is not None:
        os.set_inheritable(orders["users_lock"], False)  # noqa: FBT003 - it takes no keyword
    sys.path[:0] = orders["paths"]
    try:
        return _run(Config.model_validate(orders["config"]), orders["dsn"])
    except StartFailed as error:
        sys.stderr.write(f"{error.failure.text or error}\n")
        return MISCONFIGURED if error.failure.fatal else FAILED
    finally:
        _leave_nothing_behind(orders)


def _run(config: Config, dsn: str) -> int:
    node_id = new_id()
    spec = tree.root(config, dsn, node_id, carry(config.durable.workflows))
    plain = hooks_of(config, node_id, log_level=logging.INFO)
    hooks = ServiceHooks(**vars(plain), manager=service_manager())
    return run_root(spec, hooks, title=f"durable-otp[{config.durable.name}]")


def _leave_nothing_behind(orders: dict[str, Any]) -> None:
    """As the first process of a container, stop the private server: nobody will be left to."""
    if os.getpid() == 1 and orders["server"] is not None:
        os.close(orders["users_lock"])
        with contextlib.suppress(EmbeddedServerError):  # somebody else uses it
            embedded.stop(Path(orders["server"]))


if __name__ == "__main__":
    sys.exit(main())

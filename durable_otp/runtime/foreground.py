"""From the command to the root of its tree, by exec: the same process id, a new interpreter.

Starting needs threads, imports and a database; a root must have none of them. What it has to know
is written to a memory file that it inherits, where a password is safe from other users.
"""

import logging
import os
import sys
from typing import NoReturn

from durable_otp.config import Config
from durable_otp.otp import program
from durable_otp.otp.cargo import Cargo, pack
from durable_otp.runtime import root_program, tree
from durable_otp.runtime.carried import carry
from durable_otp.runtime.runtime import hooks_of
from durable_otp.runtime.service_manager import ServiceHooks, service_manager
from durable_otp.runtime.starting import Prepared
from durable_otp.storage.identity import new_id


def become_root(
    config: Config, prepared: Prepared, paths: list[str], *, until_idle: bool = False
) -> NoReturn:
    """Become the root of a tree; modules are looked for in ``paths`` before anywhere else.

    With ``until_idle`` the tree stops in order as soon as nothing is left for it to do.

    Raises:
        ConfigError: It cannot be told when nothing is left to do.
    """
    server = prepared.server
    orders = root_program.Orders(
        cargo=pack(_cargo(config, prepared.dsn, until_idle=until_idle)),
        paths=paths,
        users_lock=None if server is None else server.keep_across_exec(),
        server=None if server is None else str(server.directory),
    )
    sys.stdout.flush()
    sys.stderr.flush()
    program.replace(
        [sys.executable, "-P", "-m", root_program.__name__],
        environment=os.environ | {root_program.VARIABLE: orders.written()},
        hold_signals=True,
    )


def _cargo(config: Config, dsn: str, *, until_idle: bool) -> Cargo:
    """Return the tree as it is to be: planned here, so that the root need not read settings."""
    node_id = new_id()
    plain = hooks_of(config, node_id, log_level=logging.INFO)
    return Cargo(
        tree.root(config, dsn, node_id, carry(config.durable.workflows), until_idle=until_idle),
        ServiceHooks(**vars(plain) | {"until_idle": until_idle}, manager=service_manager()),
        f"durable-otp[{config.durable.name}]",
    )

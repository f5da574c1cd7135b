"""What a host sends to its root: everything by value, so that it need not be importable there."""

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import dill

from durable_otp.errors import ConfigError
from durable_otp.otp.child_spec import ChildSpec, DynamicSupervisorSpec, SupervisorSpec
from durable_otp.otp.root import RootHooks


@dataclass(frozen=True)
class Cargo:
    """The root's specification, its owner's hooks and its title."""

    spec: SupervisorSpec | DynamicSupervisorSpec
    hooks: RootHooks | None = None
    title: str = "durable-otp"


def pack(cargo: Cargo) -> bytes:
    """Return the cargo as bytes.

    Raises:
        ConfigError: naming what cannot be carried.
    """
    for child in _children(cargo.spec):
        _dump(child, f"the child {child.id!r}")
    packed = _dump(cargo, "the root's hooks")
    return bytes(dill.dumps((sys.path, packed)))


def _children(spec: SupervisorSpec | DynamicSupervisorSpec) -> tuple[ChildSpec, ...]:
    return spec.children if isinstance(spec, SupervisorSpec) else (spec.template,)


def _dump(value: Any, what: str) -> bytes:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", dill.PicklingWarning)
            return bytes(dill.dumps(value, recurse=True))
    except Exception as error:
        raise ConfigError(
            f"{what} cannot be carried to the root process ({error}); give its function only "
            "plain values, and open files, sockets and locks inside it"
        ) from error


def unpack(payload: bytes) -> Cargo:
    """Return the cargo, with the host's module search path in force."""
    search_path, packed = dill.loads(payload)  # noqa: S301 - from the process that started this one
    sys.path[:] = search_path
    cargo: Cargo = dill.loads(packed)  # noqa: S301 - likewise
    return cargo

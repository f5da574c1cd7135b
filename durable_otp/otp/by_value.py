"""Carrying objects with their code to another process, wherever that code was defined.

dill carries a function of an importable module as its name only. A script, a notebook or a test
module cannot be imported by that name elsewhere, so their functions and classes travel whole.
A module that such code uses travels as its name, never with what it holds in this process.
"""

import sys
import threading
import warnings
from collections.abc import Callable, Iterable
from importlib.machinery import PathFinder
from types import ModuleType
from typing import Any

import dill
from dill import _dill

from durable_otp.errors import ConfigError

_whole = threading.local()
_located_by_dill: Callable[..., bool] = _dill._locate_function  # noqa: SLF001 - no public hook
_named_by_dill: Callable[[ModuleType], bool] = _dill._is_builtin_module  # noqa: SLF001 - likewise


def pack(value: Any, what: str, modules: Iterable[str] = ()) -> bytes:
    """Return a value as bytes for ``unpack``.

    Args:
        value: Anything that dill can carry.
        what: What it is, for the message.
        modules: The modules whose code it uses; those that cannot be imported by another process
            are carried whole.

    Raises:
        ConfigError: naming what cannot be carried.
    """
    _whole.modules = {name for name in modules if not is_importable(name)}
    _whole.is_packing = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", dill.PicklingWarning)  # it would fail on arrival
            return bytes(dill.dumps(value, recurse=True))
    except Exception as error:
        raise ConfigError(
            f"{what} cannot be carried to another process ({error}); let its functions use only "
            "plain values, and open files, sockets and locks inside them."
        ) from error
    finally:
        _whole.modules, _whole.is_packing = set(), False


def unpack(packed: bytes) -> Any:
    """Return what ``pack`` packed; only ever called on what this tree's host has sent."""
    return dill.loads(packed)  # noqa: S301 - from the process that started this one


def is_importable(name: str) -> bool:
    """Return whether a new process with this search path would find this very module by name."""
    if name == "__main__" or name not in sys.modules:
        return name != "__main__"
    wanted = getattr(sys.modules[name], "__file__", None)
    path: Iterable[str] | None = None
    spec = None
    parts = name.split(".")
    for depth in range(len(parts)):
        spec = PathFinder.find_spec(
            ".".join(parts[: depth + 1]), None if path is None else list(path)
        )
        if spec is None:
            return name in sys.builtin_module_names
        path = spec.submodule_search_locations
    return spec is not None and spec.origin == wanted


def _is_located(obj: Any, *args: Any, **kwargs: Any) -> bool:
    if getattr(obj, "__module__", None) in getattr(_whole, "modules", ()):
        return False
    return _located_by_dill(obj, *args, **kwargs)


def _is_named(module: ModuleType) -> bool:
    """Return whether a module travels as its name; dill sends those of a checkout with all state.

    Their state would replace that of the process it arrives in, or hold what cannot be carried.
    """
    return _named_by_dill(module) or (
        getattr(_whole, "is_packing", False) and is_importable(module.__name__)
    )


_dill._locate_function = _is_located  # noqa: SLF001 - as above; a test holds it to what it does
_dill._is_builtin_module = _is_named  # noqa: SLF001 - likewise

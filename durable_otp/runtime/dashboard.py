"""The dashboard as a process of the tree; the package that draws it is imported there alone."""

import importlib
from typing import Any

from durable_otp.config import Config
from durable_otp.otp import ParentLink
from durable_otp.otp.link import InitError
from durable_otp.otp.title import set_title
from durable_otp.runtime.settings import DashboardSettings, DatabaseSettings

SERVER = "durable_otp.dashboard.server"
MISSING = (
    'The dashboard needs packages that are not installed: pip install "durable-otp[dashboard]", or '
    "set [dashboard] enabled = false."
)
_NOT_SHOWN = {"dsn", "operators", "viewers", "token"}


def settings_of(config: Config, database: DatabaseSettings) -> DashboardSettings:
    """Return what the dashboard of a configuration is told."""
    pages, durable = config.dashboard, config.durable
    return DashboardSettings(
        database=database,
        host=pages.host,
        port=pages.port,
        operators=pages.operators,
        viewers=pages.viewers,
        token=pages.token,
        read_only=pages.read_only,
        hosts=pages.hosts,
        node_timeout=durable.node_timeout,
        stale_lock_timeout=durable.stale_lock_timeout,
        max_payload=durable.max_payload,
        shown=_shown(config),
    )


def dashboard(parent: ParentLink, title: str, settings: DashboardSettings) -> None:
    """Be the dashboard until told to stop."""
    set_title(title)
    try:
        server = importlib.import_module(SERVER)
    except ImportError as error:
        raise InitError(f"{MISSING} ({error})", fatal=True) from None
    server.supervised(parent, settings)


def _shown(config: Config) -> dict[str, dict[str, Any]]:
    """Return the sections with their values, without what is secret."""
    found = config.model_dump(
        mode="json", by_alias=True, exclude={"durable": {"workflows", "codec"}}
    )
    found |= {f"queues.{name}": section for name, section in found.pop("queues").items()}
    return {
        name: {key: value for key, value in section.items() if key not in _NOT_SHOWN}
        for name, section in found.items()
    } | {"durable": _plain(found["durable"], config)}


def _plain(section: dict[str, Any], config: Config) -> dict[str, Any]:
    names = [str(getattr(each, "name", each)) for each in config.durable.workflows]
    return {key: value for key, value in section.items() if key not in _NOT_SHOWN} | {
        "workflows": names,
        "codec": [str(getattr(each, "name", each)) for each in config.durable.codec or ()],
    }

"""The published definitions: which workflows exist, for those who know them only by name."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from durable_otp.storage.operation import Operation
from durable_otp.storage.statements import Statement
from durable_otp.workflow.json_form import encode


@dataclass(frozen=True)
class PublishedDefinition:
    """A definition as other processes see it; ``description`` is its JSON form."""

    workflow: str
    version: str
    fingerprint: str
    description: dict[str, Any]


def publish(definitions: Sequence[PublishedDefinition]) -> Operation[int]:
    """Publish definitions; return how many were new or had changed."""
    rows = yield Statement(
        "publish_definitions",
        {
            "workflows": [each.workflow for each in definitions],
            "versions": [each.version for each in definitions],
            "fingerprints": [each.fingerprint for each in definitions],
            "descriptions": [encode(each.description).decode() for each in definitions],
        },
    )
    return len(rows)


def published(workflow: str) -> Operation[dict[str, Any] | None]:
    """Return the description of a name's newest published version; None if there is none."""
    rows = yield Statement("published_definition", {"workflow": workflow})
    return dict(rows[0]["description"]) if rows else None

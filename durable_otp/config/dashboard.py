"""The section ``[dashboard]``: where the pages are served, and to whom."""

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from durable_otp.config.quantities import Shown

HASH = re.compile(r"scrypt:[0-9a-f]{32}:[0-9a-f]{64}")
_LONGEST_NAME = 100


def check_hash(value: str) -> str:
    """Return what a password is compared with; the password itself is never configured."""
    if HASH.fullmatch(value) is None:
        raise ValueError(
            "must be a hash as `durable-otp dashboard --hash-password` prints it, not a password"
        )
    return value


def check_person(value: str) -> str:
    """Return a name to sign in with."""
    if not 1 <= len(value) <= _LONGEST_NAME or not value.isprintable() or value != value.strip():
        raise ValueError(f"must have names of 1 to {_LONGEST_NAME} printable characters")
    return value


def check_host(value: str) -> str:
    """Return an address to listen on."""
    if value != "localhost":
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise ValueError(
                f'must be an IP address such as "127.0.0.1", or "localhost", not {value!r}'
            ) from None
    return value


Hash = Annotated[StrictStr, AfterValidator(check_hash)]
People = Annotated[
    dict[Annotated[StrictStr, AfterValidator(check_person)], Hash],
    Shown("table of names and hashes", ""),
]


class DashboardSection(BaseModel):
    """The pages that show every execution and the processes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: StrictBool = Field(
        default=False, description="Whether the tree serves its pages, by a process of its own."
    )
    host: Annotated[StrictStr, AfterValidator(check_host)] = Field(
        "127.0.0.1",
        description="The address to listen on; any but this machine's own needs `operators`, "
        "`viewers` or a `token`.",
    )
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = Field(
        8787, description="The port to listen on."
    )
    operators: People = Field(
        {},
        repr=False,
        description="Who may look and act: name = hash, as `durable-otp dashboard "
        "--hash-password` prints it.",
    )
    viewers: People = Field({}, repr=False, description="Who may look: name = hash.")
    token: Annotated[Hash, Shown("text", "")] | None = Field(
        None,
        repr=False,
        description="The hash of a bearer token for programs, which may look and act.",
    )
    read_only: StrictBool = Field(default=False, description="True: nobody may act, only look.")
    hosts: Annotated[tuple[StrictStr, ...], Shown("list of names", "")] = Field(
        (),
        description="The names that browsers reach it by (`Host`); others are refused. Empty: "
        "this machine's own names, and any once people have to sign in.",
    )


def is_loopback(host: str) -> bool:
    """Return whether an address is reached from this machine only."""
    return host == "localhost" or ipaddress.ip_address(host).is_loopback


def has_credentials(section: DashboardSection) -> bool:
    """Return whether anybody has to prove who they are."""
    return bool(section.operators or section.viewers or section.token)

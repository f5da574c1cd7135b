"""The directory of a private server: where it is by default, and whether one may be put there."""

import os
import pwd
from pathlib import Path

from durable_otp.errors import EmbeddedServerError
from durable_otp.storage.embedded import locks

DEFAULT = Path(".durable-otp") / "pg"


def default_directory(config_file: Path | None = None) -> Path:
    """Return ``DURABLE_OTP_PG_DIR``, else ``.durable-otp/pg`` beside the configuration file.

    Args:
        config_file: The configuration file; None for the working directory.
    """
    explicit = os.environ.get("DURABLE_OTP_PG_DIR")
    if explicit:
        return resolved(Path(explicit))
    return resolved((config_file.parent if config_file else Path()) / DEFAULT)


def resolved(directory: Path | None) -> Path:
    """Return the absolute path of a directory, or of the default one."""
    return default_directory() if directory is None else directory.expanduser().resolve()


def existing(directory: Path | None) -> Path:
    """Return the absolute path of a directory to look at or to stop, if it is this user's.

    Raises:
        EmbeddedServerError: It is another user's, or cannot be looked at.
    """
    place = resolved(directory)
    try:
        _refuse_another_user(place)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EmbeddedServerError(
            f"The private PostgreSQL server in {place} cannot be looked at ({error.strerror}); run "
            f"durable-otp as the user whose it is."
        ) from error
    return place


def shown(directory: Path) -> str:
    """Return a directory as a person in the working directory would write it."""
    here = Path.cwd()
    return f"./{directory.relative_to(here)}" if directory.is_relative_to(here) else str(directory)


def prepare(directory: Path) -> None:
    """Make the directory, closed to others and ignored by git, unless it is a server's already.

    Raises:
        EmbeddedServerError: It is somebody else's, holds other things, or cannot be made.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _refuse_another_user(directory)
        _refuse_other_contents(directory)
        directory.chmod(0o700)
        os.close(os.open(directory / locks.CONTROL, os.O_CREAT | os.O_CLOEXEC, 0o600))
        (directory / ".gitignore").write_text("*\n")
    except OSError as error:
        raise EmbeddedServerError(
            f"The private PostgreSQL server cannot be kept in {directory} ({error.strerror}); "
            f"name a directory on a local disk that you may write."
        ) from error


def _refuse_another_user(directory: Path) -> None:
    owner = directory.stat().st_uid
    if owner != os.geteuid():
        raise EmbeddedServerError(
            f"{directory} belongs to {_name_of(owner)}; run durable-otp as that user, or name "
            f"another directory."
        )


def _refuse_other_contents(directory: Path) -> None:
    if any(directory.iterdir()) and not (directory / locks.CONTROL).exists():
        raise EmbeddedServerError(
            f"{directory} holds other files and no private server; name a new or empty directory."
        )


def _name_of(user: int) -> str:
    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user id {user}"

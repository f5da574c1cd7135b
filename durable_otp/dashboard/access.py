"""Who may look and who may act: people, roles, sessions, and the proof that a form is ours.

Sessions are signed cookies, and the key lives in this process only: when it ends, all sign in anew.
"""

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import HTTPConnection

from durable_otp.clock import monotonic
from durable_otp.dashboard.passwords import NOBODY, fits

Role = Literal["viewer", "operator"]
COOKIE = "durable_session"
SESSION_SECONDS = 12 * 3600.0
LOCAL_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
MOST_FAILURES = 10
FAILURES_WITHIN = 60.0


@dataclass(frozen=True)
class Person:
    """Somebody at a page."""

    name: str
    role: Role

    @property
    def may_act(self) -> bool:
        """Whether buttons are theirs to press."""
        return self.role == "operator"


Authorize = Callable[[HTTPConnection], "Person | None"]


@dataclass(frozen=True)
class Session:
    """What a cookie says; ``proof`` is what every form of this session carries."""

    person: Person
    id: str
    ends: float


@dataclass
class Access:
    """The rules of one dashboard.

    Without people, a token and ``authorize``, everybody who reaches it by a name of this machine is
    its operator, and every other name is refused.

    Args:
        operators: Who may look and act: hashes by name.
        viewers: Who may look: hashes by name.
        token: The hash of a bearer token.
        authorize: The host application's own answer to who is asking; None refuses.
        read_only: Whether nobody may act.
        hosts: The names that it may be reached by.
    """

    operators: Mapping[str, str] = field(default_factory=dict, repr=False)
    viewers: Mapping[str, str] = field(default_factory=dict, repr=False)
    token: str | None = field(default=None, repr=False)
    authorize: Authorize | None = None
    read_only: bool = False
    hosts: Sequence[str] = ()
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _tokens: set[bytes] = field(default_factory=set, repr=False)
    _failures: list[float] = field(default_factory=list, repr=False)

    @property
    def is_open(self) -> bool:
        """Whether nobody has to say who they are."""
        return not (self.operators or self.viewers or self.token or self.authorize)

    @property
    def has_sign_in(self) -> bool:
        """Whether there is anybody to sign in as."""
        return bool(self.operators or self.viewers)

    def admits(self, host: str) -> bool:
        """Return whether a ``Host`` may be asked for: a foreign name may be a rebound one."""
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        if self.hosts:
            return name.lower() in {each.lower() for each in self.hosts} | LOCAL_NAMES
        return not self.is_open or name.lower() in LOCAL_NAMES

    def person(self, name: str, role: Role) -> Person:
        """Return somebody in their role, or less where nobody may act."""
        return Person(name, "viewer" if self.read_only else role)

    def sign_in(self, name: str, password: str) -> Person | None:
        """Return who has this name and password. Takes some 50 ms, right or wrong."""
        kept = self.operators.get(name) or self.viewers.get(name)
        if not fits(password, kept or NOBODY) or kept is None:
            self._failures = [*self._recent_failures(), monotonic()]
            return None
        return self.person(name, "operator" if name in self.operators else "viewer")

    @property
    def is_besieged(self) -> bool:
        """Whether so many passwords were wrong lately that no other is looked at."""
        return len(self._recent_failures()) >= MOST_FAILURES

    def bearer(self, token: str) -> Person | None:
        """Return who has a token."""
        if self.token is None:
            return None
        mark = self._sign(token.encode())
        if mark not in self._tokens:
            if self.is_besieged:
                return None
            if not fits(token, self.token):
                self._failures = [*self._recent_failures(), monotonic()]
                return None
            self._tokens.add(mark)
        return self.person("token", "operator")

    # sessions

    def begin(self, person: Person) -> Session:
        """Return a new session."""
        return Session(person, secrets.token_urlsafe(18), monotonic() + SESSION_SECONDS)

    def cookie(self, session: Session) -> str:
        """Return a session as a cookie's value."""
        fields = [session.person.name, session.person.role, session.id, session.ends]
        text = base64.urlsafe_b64encode(json.dumps(fields).encode())
        return f"{text.decode()}.{self._sign(text).hex()}"

    def session(self, cookie: str | None) -> Session | None:
        """Return the session that a cookie is of; None when it is forged or over."""
        text, _, mark = (cookie or "").partition(".")
        try:
            if not hmac.compare_digest(self._sign(text.encode()), bytes.fromhex(mark)):
                return None
            name, role, id_, ends = json.loads(base64.urlsafe_b64decode(text))
        except ValueError:
            return None
        return Session(Person(name, role), id_, ends) if ends > monotonic() else None

    def proof(self, session: Session) -> str:
        """Return what a form of this session carries, and no other site can know."""
        return self._sign(b"form " + session.id.encode()).hex()

    def is_proof(self, session: Session, given: Any) -> bool:
        """Return whether a form is one of this session."""
        text = given if isinstance(given, str) else ""
        return hmac.compare_digest(self.proof(session).encode(), text.encode())

    def _recent_failures(self) -> list[float]:
        return [at for at in self._failures if at > monotonic() - FAILURES_WITHIN]

    def _sign(self, text: bytes) -> bytes:
        return hmac.digest(self._key, text, hashlib.sha256)

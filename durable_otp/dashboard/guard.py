"""The gate in front of every page: who asks, under which name, from which site; and the headers.

Whatever changes something is a POST, by an operator, from this site, with the session's proof.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from durable_otp.dashboard.access import COOKIE, Access, Person, Session

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
OPEN_TO_ALL = ("/static/", "/login", "/healthz", "/readyz")
API = "/api/"
READING = ("GET", "HEAD")
PROOF = "proof"
LONGEST_BODY = 4 * 1024**2


class Refused(Exception):  # noqa: N818 - reads as the sentence it reports
    """A request that is not answered; the sentence says why."""

    def __init__(self, sentence: str, status: int = 403) -> None:
        super().__init__(sentence)
        self.status = status


class Guard:
    """ASGI middleware; what comes through has ``scope["session"]``."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let it through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope, receive)
        answer = self._answer(request)
        is_new = scope.get("session_is_new", False)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if not local_path(request).startswith("/static/"):
                    headers.setdefault("Cache-Control", "no-store")
                if is_new:
                    headers.append("Set-Cookie", self._set_cookie(request, scope["session"]))
            await send(message)

        await (answer or self._app)(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        """Return the answer to a request that may not come through."""
        if not self._access.admits(request.headers.get("host", "")):
            words = "This dashboard is not reached by this name; see [dashboard] hosts."
            return _said(request, words, 421)
        if request.method not in READING and not _from_here(request):
            return _said(request, "Another site may not send this.", 403)
        session = self._session(request)
        request.scope["session"] = session
        if session is None and not local_path(request).startswith(OPEN_TO_ALL):
            return self._sign_in_first(request)
        return None

    def _session(self, request: Request) -> Session | None:
        """Return whose request it is; a session is begun where nobody need sign in."""
        access = self._access
        request.scope["by_token"] = False
        authorization = request.headers.get("authorization", "")
        if authorization.lower().startswith("bearer "):
            person = access.bearer(authorization[7:].strip())
            request.scope["by_token"] = person is not None
            return None if person is None else access.begin(person)
        known = access.session(request.cookies.get(COOKIE))
        if access.authorize is not None:
            return self._of(access.authorize(request), known, request)
        if access.is_open:
            return self._of(access.person("local", "operator"), known, request)
        return known

    def _of(self, person: Person | None, known: Session | None, request: Request) -> Session | None:
        """Return the session of somebody who is known without signing in here."""
        if person is None:
            return None
        person = self._access.person(person.name, person.role)
        if known is not None and known.person == person:
            return known
        request.scope["session_is_new"] = True
        return self._access.begin(person)

    def _sign_in_first(self, request: Request) -> Response:
        wants_page = "text/html" in request.headers.get("accept", "")
        if request.method in READING and wants_page and self._access.has_sign_in:
            asked = local_path(request) + (f"?{request.url.query}" if request.url.query else "")
            base = request.scope.get("root_path", "")
            return RedirectResponse(f"{base}/login?next={quote(asked, safe='')}", 303)
        return _said(request, "Sign in first.", 401)

    def _set_cookie(self, request: Request, session: Session) -> str:
        return session_cookie(request, self._access.cookie(session))


def local_path(request: Request) -> str:
    """Return the path below where the dashboard is mounted."""
    base = request.scope.get("root_path", "")
    path: str = request.scope["path"]
    return path.removeprefix(base) or "/"


def session_cookie(request: Request, value: str, *, name: str = COOKIE) -> str:
    """Return a cookie that scripts cannot read and other sites cannot send; empty: removed."""
    secure = "; Secure" if request.url.scheme == "https" else ""
    gone = "" if value else "; Max-Age=0"
    path = request.scope.get("root_path", "") or "/"
    return f"{name}={value}; Path={path}; HttpOnly; SameSite=Strict{secure}{gone}"


def check_form(request: Request, form: Mapping[str, Any], access: Access) -> Session:
    """Return the session that a form is sent in.

    Raises:
        Refused: It is nobody's, not an operator's, or not a form of this session.
    """
    session: Session | None = request.scope.get("session")
    if session is None:
        raise Refused("Sign in first.", 401)
    if not session.person.may_act:
        raise Refused("You may look, and not act: your role is viewer.")
    if not request.scope["by_token"] and not access.is_proof(session, form.get(PROOF)):
        raise Refused("This form is too old or not from here; go back, reload and try again.")
    return session


def _from_here(request: Request) -> bool:
    """Return whether a form was sent by a page of this site, as far as the browser says."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def is_api(request: Request) -> bool:
    """Return whether a program asks, which is answered in JSON."""
    return local_path(request).startswith(API)


def _said(request: Request, sentence: str, status: int) -> Response:
    if is_api(request):
        return JSONResponse({"error": sentence}, status)
    return PlainTextResponse(f"{sentence}\n", status)

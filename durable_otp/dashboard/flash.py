"""One sentence that survives a redirect: what became of a button that was pressed."""

import base64
import hashlib
import hmac
import json
import secrets
from typing import Literal, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

COOKIE = "durable_said"
_KEY = secrets.token_bytes(32)
_LONGEST = 600


class Notice(NamedTuple):
    """A sentence, and whether it is good news."""

    kind: Literal["done", "failed"]
    sentence: str


def say(request: Request, response: Response, notice: Notice) -> None:
    """Have the next page show a sentence once."""
    text = base64.urlsafe_b64encode(json.dumps([notice.kind, notice.sentence[:_LONGEST]]).encode())
    response.set_cookie(
        COOKIE,
        f"{text.decode()}.{_sign(text)}",
        max_age=60,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
        path=request.scope.get("root_path", "") or "/",
    )


def said(request: Request) -> Notice | None:
    """Return the sentence that the page before left; nobody else can have."""
    text, _, mark = request.cookies.get(COOKIE, "").partition(".")
    if not text or not hmac.compare_digest(_sign(text.encode()).encode(), mark.encode()):
        return None
    kind, sentence = json.loads(base64.urlsafe_b64decode(text))
    return Notice(kind, sentence)


def _sign(text: bytes) -> str:
    return hmac.digest(_KEY, text, hashlib.sha256).hex()

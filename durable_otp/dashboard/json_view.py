"""JSON for people: indented, coloured by kind, cut where it is long; secrets stay hidden."""

import json
import re
from itertools import zip_longest
from typing import Any

from markupsafe import Markup, escape

LONGEST = 60_000
SECRET = re.compile(
    r"passw|secret|token|api_?key|authorization|credential|private_?key|cookie", re.IGNORECASE
)
HIDDEN = "••••••"
_TOKEN = re.compile(
    r'(?P<key>"(?:\\.|[^"\\])*")(?=\s*:)|(?P<str>"(?:\\.|[^"\\])*")'
    r"|(?P<num>-?\d[\d.eE+-]*)|(?P<lit>true|false|null)"
)


def redacted(value: Any) -> Any:
    """Return JSON with everything hidden that is kept under a name that sounds secret."""
    if isinstance(value, dict):
        return {
            key: HIDDEN if SECRET.search(key) and not _is_plain(item) else redacted(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [redacted(item) for item in value]
    return value


def restored(value: Any, original: Any) -> Any:
    """Return JSON that was shown with its secrets hidden, and edited, with those of the original.

    Raises:
        ValueError: There is nothing in the original where a value is hidden.
    """
    if value == HIDDEN:
        if original is None or redacted({"secret": original})["secret"] != HIDDEN:
            raise ValueError("A hidden value has nothing that it stands for; type one instead.")
        return original
    if isinstance(value, dict):
        kept = original if isinstance(original, dict) else {}
        return {key: restored(item, kept.get(key)) for key, item in value.items()}
    if isinstance(value, list):
        beside = original if isinstance(original, list) else []
        pairs = zip_longest(value, beside[: len(value)])
        return [restored(item, before) for item, before in pairs]
    return value


def text_of(value: Any) -> str:
    """Return JSON as indented text, secrets hidden."""
    return json.dumps(redacted(value), indent=2, ensure_ascii=False)


def highlighted(value: Any) -> Markup:
    """Return JSON as HTML, every character of it escaped."""
    text = text_of(value)
    shown = text[:LONGEST]
    parts: list[Markup] = []
    last = 0
    for found in _TOKEN.finditer(shown):
        parts.append(escape(shown[last : found.start()]))
        parts.append(Markup('<span class="j-{}">{}</span>').format(found.lastgroup, found[0]))
        last = found.end()
    parts.append(escape(shown[last:]))
    if len(text) > LONGEST:
        parts.append(escape(f"\n… {len(text) - LONGEST:,} more characters"))
    return Markup("").join(parts)


def _is_plain(value: Any) -> bool:
    """Return whether a value tells nothing: empty, or a switch."""
    return value is None or isinstance(value, bool) or value in ("", [], {})

"""Texts that nobody has checked, as they are stored: what errors say, and what steps print."""

LONGEST_MESSAGE = 8_192


def storable(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return a text that jsonb can hold: without NUL or lone surrogates, its middle cut out."""
    text = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
    if len(text) <= longest:
        return text
    half = longest // 2
    return f"{text[:half]}\n... {len(text) - longest} characters left out ...\n{text[-half:]}"

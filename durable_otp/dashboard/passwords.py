"""Passwords and tokens: what is kept of them, and whether one is right."""

import hashlib
import hmac
import secrets

_COST = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}
NOBODY = "scrypt:" + "0" * 32 + ":" + "0" * 64
"""Compared with when there is no such name, so that an answer takes as long either way."""


def hashed(secret: str) -> str:
    """Return what to keep of a secret; another text each time. Takes some 50 ms."""
    salt = secrets.token_bytes(16)
    return f"scrypt:{salt.hex()}:{_digest(secret, salt).hex()}"


def fits(secret: str, kept: str) -> bool:
    """Return whether a secret is the one that was kept; as slow for a wrong one."""
    _, salt, digest = kept.split(":")
    return hmac.compare_digest(_digest(secret, bytes.fromhex(salt)), bytes.fromhex(digest))


def _digest(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode("utf-8", "surrogatepass"), salt=salt, **_COST)

"""The codecs of docs/encryption.md, as the page has them."""

import re
from pathlib import Path
from typing import Any

import pytest

from durable_otp import Codec
from durable_otp.storage.payloads import Codecs

PAGE = Path(__file__).parents[2] / "docs/encryption.md"
_FILE = re.compile(r"^```python\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def module(name: str) -> dict[str, Any]:
    """Return what a file of the page defines."""
    code = dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))[name]
    namespace: dict[str, Any] = {}
    exec(compile(code, name, "exec"), namespace)
    return namespace


def there_and_back(codec: Codec) -> str:
    codecs = Codecs(codec)
    text = codecs.seal_text('{"card":"4111"}')
    assert codecs.open(text) == {"card": "4111"}
    return text


def test_the_page_compresses():
    there_and_back(module("shop/squeezed.py")["codec"])


def test_the_page_encrypts_and_another_key_does_not_read(monkeypatch):
    pytest.importorskip("cryptography")
    monkeypatch.setenv("SHOP_KEY_1", "00" * 32)
    page = module("shop/crypto.py")

    text = there_and_back(page["codec"])

    assert "4111" not in text
    assert there_and_back(page["codec"]) != text
    wrong = Codecs(page["Aes"]("aes-1", b"1" * 32), shows=True)
    assert wrong.open(text) == "<encoded by aes-1: not readable with the codec here>"

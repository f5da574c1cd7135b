"""Codecs for tests: none of them is one to protect anything with."""

import zlib
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.tree import Tree


@dataclass(frozen=True)
class Veil:
    """Hides bytes behind a stream made of its key; another key does not read them."""

    name: str
    key: str = "key"

    def encode(self, data: bytes) -> bytes:
        """Return the bytes hidden, behind a mark of the key."""
        return self._mark() + self._hidden(data)

    def decode(self, data: bytes) -> bytes:
        """Return what was hidden."""
        if data[:4] != self._mark():
            raise ValueError("another key")
        return self._hidden(data[4:])

    def _mark(self) -> bytes:
        return sha256(self.key.encode()).digest()[:4]

    def _hidden(self, data: bytes) -> bytes:
        stream = sha256(self.key.encode()).digest()
        return bytes(each ^ stream[at % len(stream)] for at, each in enumerate(data))


@dataclass(frozen=True)
class Squeezed:
    """Compresses."""

    name: str = "zlib"

    def encode(self, data: bytes) -> bytes:
        """Return the bytes compressed."""
        return zlib.compress(data)

    def decode(self, data: bytes) -> bytes:
        """Return the bytes as they were."""
        return zlib.decompress(data)


@dataclass(frozen=True)
class Broken:
    """Raises, or gives no bytes."""

    name: str = "broken"
    gives: object = None

    def encode(self, data: bytes) -> bytes:
        """Fail."""
        if self.gives is None:
            raise RuntimeError("the key store\nis away")
        return self.gives  # type: ignore[return-value] - that is the mistake

    decode = encode


@dataclass(frozen=True)
class Picky:
    """Encodes nothing that holds the word."""

    word: str
    name: str = "picky"

    def encode(self, data: bytes) -> bytes:
        """Return the bytes reversed, or fail as code does that was not made for them."""
        if self.word.encode() in data:
            raise ValueError(f"what is {data!r}?")
        return data[::-1]

    def decode(self, data: bytes) -> bytes:
        """Return the bytes as they were."""
        return data[::-1]


veil = Veil("veil-1")
broken = Broken()
no_codec = object()


def readable(tree: "Tree", secret: str) -> list[str]:
    """Return the tables and columns that have the secret in them."""
    columns = tree.sql(
        "SELECT table_name, column_name FROM information_schema.columns "
        "WHERE table_schema = '{s}' AND table_name <> 'ledger'"
    )
    assert len({each["table_name"] for each in columns}) > 10
    found = []
    for each in columns:
        table, column = each["table_name"], each["column_name"]
        count = tree.sql(
            f'SELECT count(*) AS n FROM {{s}}."{table}" WHERE "{column}"::text LIKE %s',
            f"%{secret}%",
        )
        found += [f"{table}.{column}"] * (count[0]["n"] > 0)
    return found

"""The little of PostgreSQL's wire protocol that has to be understood to follow statements."""

import asyncio
import struct

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
ENDED = (asyncio.IncompleteReadError, ConnectionError)


async def read_message(reader: asyncio.StreamReader) -> tuple[str, bytes, bytes]:
    """Return a message's type, its body, and all of it as it came."""
    head = await reader.readexactly(5)
    body = await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)
    return chr(head[0]), body, head + body


async def read_startup(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> tuple[int, dict[str, str], bytes]:
    """Return a client's first message: its code, its parameters, and all of it.

    Requests for encryption are declined, so that the stream stays readable.
    """
    while True:
        head = await reader.readexactly(8)
        length, code = struct.unpack("!II", head)
        if code not in (SSL_REQUEST, GSS_REQUEST):
            break
        writer.write(b"N")
        await writer.drain()
    body = await reader.readexactly(length - 8)
    texts = iter([] if code == CANCEL_REQUEST else [text(part) for part in body.split(b"\0")])
    parameters = {key: value for key, value in zip(texts, texts, strict=False) if key}
    return code, parameters, head + body


def text(value: bytes) -> str:
    """Return a string of the protocol."""
    return value.decode("utf-8", "replace")


def first_string(body: bytes) -> str:
    """Return the string that a message begins with."""
    return text(body.split(b"\0", 1)[0])


def two_strings(body: bytes) -> tuple[str, str]:
    """Return the two strings that a message begins with."""
    first, second = body.split(b"\0", 2)[:2]
    return text(first), text(second)


def sqlstate(body: bytes) -> str:
    """Return the code of an error."""
    codes = (part[1:] for part in body.split(b"\0") if part[:1] == b"C")
    return text(next(codes, b"?"))

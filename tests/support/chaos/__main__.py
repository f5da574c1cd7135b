"""``serve HOST:PORT CONTROL [LOG]`` runs a proxy; ``ctl CONTROL VERB [name=JSON ...]`` asks it.

A proxy ends when its standard input does: whoever started it has gone.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys

from tests.support.chaos.control import Ctl
from tests.support.chaos.proxy import Proxy
from tests.support.chaos.verbs import Verbs


async def serve(upstream: tuple[str, int], control: str, log: str | None = None) -> None:
    """Run a proxy on a port of the system's choice until it is told to stop."""
    proxy = Proxy(upstream, log)
    verbs = Verbs(proxy)

    async def on_control(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(json.dumps(await answer(verbs, line)).encode() + b"\n")
            await writer.drain()
        writer.close()

    before = os.umask(0o077)  # whoever may speak here may kill processes
    try:
        await asyncio.start_unix_server(on_control, control)
    finally:
        os.umask(before)
    server = await asyncio.start_server(proxy.serve_client, "127.0.0.1", 0, limit=1 << 20)
    print(json.dumps({"listening": server.sockets[0].getsockname()[1]}), flush=True)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, proxy.stopping.set)
    with contextlib.suppress(PermissionError):  # of a file there is no end to wait for
        asyncio.get_running_loop().add_reader(sys.stdin, proxy.stopping.set)
    await proxy.stopping.wait()
    for connection in list(proxy.connections.values()):
        proxy.drop(connection)


async def answer(verbs: Verbs, line: bytes) -> dict[str, object]:
    """Answer one request; what it did wrong is its answer."""
    try:
        return {"ok": True, **await verbs.handle(json.loads(line))}
    except Exception as error:
        return {"ok": False, "error": f"{type(error).__name__}: {error}"}


def main(arguments: list[str]) -> None:
    """Run the command line."""
    if arguments[0] == "serve":
        address, control, *log = arguments[1:]
        host, _, port = address.rpartition(":")
        asyncio.run(serve((host, int(port)), control, *log))
        return
    path, verb, *pairs = arguments[1:]
    values = {name: json.loads(value) for name, _, value in (pair.partition("=") for pair in pairs)}
    print(json.dumps(Ctl(path)(verb, **values), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])

"""A thin HTTP front for PyPI's `kademlia`: POST /KEY stores the body, GET /KEY gets it, GET /-/id is the node's id.

Rules of this file: it runs in an environment of its own, imports that library and the standard one only, and adds as
little of its own as it can: no framework, one write an answer, connections stay open.

    python kademlia_front.py ADDRESS PEER_PORT HTTP_PORT [FIRST_ADDRESS FIRST_PEER_PORT]
"""

from __future__ import annotations

import asyncio
import logging
import sys

from kademlia.network import Server  # type: ignore[import-not-found]  # not of our environment

MOST_BYTES = 65_536
_REASONS = {200: "OK", 202: "Accepted", 404: "Not Found", 503: "Service Unavailable"}


async def answer(node: Server, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    if path == "/-/id":
        return 200, node.node.id.hex().encode()
    if method == "POST":
        return (202 if await node.set(path[1:], body) else 503), b""
    value = await node.get(path[1:])
    return (404, b"") if value is None else (200, value)


async def serve_client(node: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            method, path, _ = head[0].split(" ")
            lengths = [int(line[15:]) for line in head if line.lower().startswith("content-length:")]
            body = await reader.readexactly(min(lengths[0], MOST_BYTES)) if lengths else b""
            status, content = await answer(node, method, path, body)
            opening = f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Length: {len(content)}\r\n\r\n"
            writer.write(opening.encode() + content)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main(address: str, peer_port: str, http_port: str, *first: str) -> None:
    logging.disable(logging.CRITICAL)
    node = Server()
    await node.listen(int(peer_port), interface=address)
    if first and not await node.bootstrap([(first[0], int(first[1]))]):
        sys.exit("nobody answered")
    server = await asyncio.start_server(lambda r, w: serve_client(node, r, w), address, int(http_port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

"""The least that Quart-Trio and Hypercorn can do: answer 100 bytes to every GET.

Rules of this file: no middleware, no logs; connections stay open as long as ours do.
"""

from __future__ import annotations

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart_trio import QuartTrio

app = QuartTrio(__name__)
BODY = b"hello".ljust(100, b".")


@app.get("/<path:key>")
async def hello(key: str) -> bytes:
    return BODY


if __name__ == "__main__":
    config = Config()
    config.bind = [sys.argv[1]]
    config.keep_alive_max_requests = 1 << 62
    config.loglevel = "ERROR"
    trio.run(serve, app, config)

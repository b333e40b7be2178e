"""uvicorn with the engine's protocol and a head timeout that tests can wait for, as a process.

Answers /slow half at once and half after twice the timeout, anything else at once. Prints its port.
"""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from tokenswarm.engine.server.protocol import Protocol

HEAD_TIMEOUT_S = 0.5


class Hasty(Protocol):
    head_timeout_s = HEAD_TIMEOUT_S


async def app(scope, receive, send) -> None:
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/slow":
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(2 * HEAD_TIMEOUT_S)
    await send({"type": "http.response.body", "body": b"two"})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http=Hasty, ws="none", lifespan="off", log_config=None, log_level="critical"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

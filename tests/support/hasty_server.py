"""uvicorn with the engine's protocol and timeouts that tests can wait for, as a process.

/v1 is the engine's application, which gets no further than a body; /slow is answered half at once
and half after twice the timeout, anything else at once. Prints its port.
"""

from __future__ import annotations

import asyncio
import socket

import uvicorn

from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.engine.server.app import EngineApp
from tokenswarm.engine.server.prompt_tokens import TokenCounter
from tokenswarm.engine.server.protocol import Protocol
from tokenswarm.engine.server.settings import Settings

HEAD_TIMEOUT_S = 0.5
BODY_TIMEOUT_S = 1.0


class Hasty(Protocol):
    head_timeout_s = HEAD_TIMEOUT_S


ENGINE = EngineApp(
    Settings(preset=PRESETS["trtllm-like"], model="m", body_timeout_s=BODY_TIMEOUT_S),
    TokenCounter("none", lambda message: 1, lambda tools: 1, 1),
)


async def app(scope, receive, send) -> None:
    if scope["path"].startswith("/v1/"):
        return await ENGINE(scope, receive, send)
    headers = [(b"content-type", b"text/plain")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    if scope["path"] == "/slow":
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(2 * HEAD_TIMEOUT_S)
    await send({"type": "http.response.body", "body": b"two"})


def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        app, http=Hasty, ws="none", lifespan="off", log_config=None, log_level="critical"
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

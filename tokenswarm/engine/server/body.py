"""Body: of a request, whole, within a size and a time."""

from __future__ import annotations

import asyncio

from starlette.requests import Request

from tokenswarm.engine.server.errors import ApiError

MAX_BODY_BYTES = 16 * 1024 * 1024  # 20 times a 200k-token prompt; guess


async def read_body(request: Request, timeout_s: float) -> bytes:
    """Raises ApiError: 413 above MAX_BODY_BYTES (the server discards what still comes), 408 where
    it has not come within `timeout_s`; the connection then ends, for its rest may never come.
    Raises ClientDisconnect where the client hangs up meanwhile."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > MAX_BODY_BYTES:
        raise _too_large()
    try:
        async with asyncio.timeout(timeout_s):
            return await _whole(request)
    except TimeoutError:
        message = f"the body did not come within {timeout_s:g} s"
        close = {"connection": "close"}
        raise ApiError(408, message, code="request_timeout", headers=close) from None


async def _whole(request: Request) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        parts.append(part)
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> ApiError:
    message = f"the body is larger than {MAX_BODY_BYTES // 1024**2} MB"
    return ApiError(413, message, code="request_too_large")

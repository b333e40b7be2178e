"""Errors in OpenAI's form: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

from collections.abc import Mapping

import orjson


class ApiError(Exception):
    """A request that is answered with an error. Anything else that is raised is a bug."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        self._error = {"message": message, "type": kind, "param": param, "code": code}

    def body(self) -> bytes:
        return orjson.dumps({"error": self._error})


def invalid(param: str, value: object, accepted: str) -> ApiError:
    """400 for one field: names it, its value (shortened) and what is accepted."""
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return ApiError(400, f"{param} {shown} is not accepted: it must be {accepted}", param=param)

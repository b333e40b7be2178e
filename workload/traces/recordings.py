"""Recordings of whole requests: JSON lines, the request's body as it was sent, with its time.

    {"at_s": 12.5, "request": {"messages": [...], "tools": [...], "max_tokens": 300},
     "output_tokens"?, "service_s"?}

The text is cut and hashed at once and then forgotten. Tokens are estimated: four characters each.
A request that begins with all of an earlier one goes on from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson

from workload.traces.chains import Chains
from workload.traces.fields import Fields, number, optional_number
from workload.traces.gather import Blocks, Gatherer, Request
from workload.traces.prefixes import Prefixes
from workload.traces.turns import TraceError

FORMAT = "recording"
_TOKEN_CHARS = 4  # docs/replay.md 1: code and prose have 3.9 to 4.2 in tiktoken-style vocabularies
_BLOCK_TOKENS = 64
_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")


def is_recording(first: Fields) -> bool:
    return isinstance(first.get("request"), dict)


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all requests. Raises TraceError."""
    for lines in files:
        chains = Chains()
        for where, fields in lines:
            body = fields.get("request")
            if not isinstance(body, dict):
                raise TraceError(f"{where}: request is no object; accepted: a request's body")
            text, is_result = _text(where, body)
            ids = _hashes(text)
            tokens = max(1, len(text) // _TOKEN_CHARS)
            session = chains.session_of(ids)
            if session is None:
                session = gatherer.open(where, everyone)
            gatherer.add(
                session,
                Request(
                    at_s=number(where, fields, "at_s"),
                    prompt_tokens=tokens,
                    output_tokens=_output_tokens(where, fields, body),
                    content=Blocks(ids=ids, size_tokens=_BLOCK_TOKENS),
                    service_s=optional_number(where, fields, "service_s"),
                    kind="tool" if is_result else "user",
                ),
            )
            chains.went_on(session, ids, len(ids))


def _text(where: str, body: Mapping[str, Any]) -> tuple[bytes, bool]:
    """All that the model reads, in its order, and whether a tool's result stands last."""
    messages = body.get("messages", body.get("input"))
    if not isinstance(messages, list) or not messages:
        raise TraceError(f"{where}: no messages in the request; accepted: a list of them, or input")
    head = [body.get("tools"), body.get("system", body.get("instructions"))]
    parts = [orjson.dumps(part) for part in (*head, *messages) if part is not None]
    last = messages[-1]
    roles = (last.get("role"), last.get("type")) if isinstance(last, dict) else ()
    is_result = "tool" in roles or "function_call_output" in roles or b'"tool_result"' in parts[-1]
    return b"".join(parts), is_result


def _hashes(text: bytes) -> list[int]:
    """Of each whole block, over all that stands before its end."""
    size = _BLOCK_TOKENS * _TOKEN_CHARS
    digest, ids = blake2b(digest_size=8), []
    for end in range(size, len(text) + 1, size):
        digest.update(text[end - size : end])
        ids.append(int.from_bytes(digest.digest(), "big", signed=True))
    return ids


def _output_tokens(where: str, fields: Fields, body: Mapping[str, Any]) -> int:
    limits = [fields.get("output_tokens"), *(body.get(limit) for limit in _LIMITS)]
    for limit in limits:
        if isinstance(limit, int) and not isinstance(limit, bool):
            return limit
    raise TraceError(
        f"{where}: neither output_tokens nor {' or '.join(_LIMITS)} in the request; accepted: one"
    )

"""Claude Code's own session logs: JSON lines, one a message, sub-agents among them or in files of
their own. Lengths and times are read; texts are not.

    {"type": "user", "sessionId", "timestamp", "message": {"content": ...}}
    {"type": "assistant", "sessionId", "timestamp", "message": {"id", "usage": {
        "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"}}}

An answer takes several lines, one a content block, with the same id and usage.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from workload.traces.fields import Fields, integer, text
from workload.traces.gather import Gatherer
from workload.traces.logged import LoggedRequest, add, unix_time
from workload.traces.prefixes import Prefixes

FORMAT = "claude-code"
_LINES = ("user", "assistant", "summary", "system", "file-history-snapshot", "queue-operation")


def is_claude_code(first: Fields) -> bool:
    return first.get("type") in _LINES and (
        "sessionId" in first or "leafUuid" in first or ("messageId" in first)
    )


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all requests. Raises TraceError."""
    requests: dict[tuple[str, str], LoggedRequest] = {}
    for lines in files:
        _read_file(requests, lines)
    add(gatherer, requests.values())


def _read_file(
    requests: dict[tuple[str, str], LoggedRequest], lines: Iterable[tuple[str, Fields]]
) -> None:
    begun: dict[str, tuple[float, str]] = {}  # of each session: when it was last sent to, and what
    heads: dict[str, str] = {}  # of each message of a sub-agent, the first of its chain
    for where, fields in lines:
        kind = fields.get("type")
        message = fields.get("message")
        if kind not in ("user", "assistant") or not isinstance(message, dict):
            continue
        parent = text(where, fields, "sessionId")
        session = _session(fields, parent, heads)
        at_s = unix_time(where, fields)
        if kind == "user":
            begun[session] = at_s, _trigger(message.get("content"))
            continue
        usage = message.get("usage")
        if not isinstance(usage, dict) or message.get("model") == "<synthetic>":
            continue
        key = session, str(message.get("id"))
        sent_at_s, trigger = begun.get(session, (at_s, "user"))
        seen = requests.get(key)
        output_tokens = integer(where, usage, "output_tokens")
        if seen is not None:
            longer = max(output_tokens, seen.output_tokens)
            requests[key] = replace(seen, ended_at_s=at_s, output_tokens=longer)
            continue
        cached = _optional(where, usage, "cache_read_input_tokens")
        written = _optional(where, usage, "cache_creation_input_tokens")
        requests[key] = LoggedRequest(
            session=session,
            parent=None if session == parent else parent,
            sent_at_s=sent_at_s,
            ended_at_s=at_s,
            prompt_tokens=integer(where, usage, "input_tokens") + cached + written,
            output_tokens=output_tokens,
            cached_tokens=cached,
            kind=trigger,
        )


def _session(fields: Fields, parent: str, heads: dict[str, str]) -> str:
    """The session, or its sub-agent: by its id, else by the first message of its chain."""
    if not fields.get("isSidechain"):
        return parent
    uuid, before = str(fields.get("uuid")), str(fields.get("parentUuid"))
    head = heads.setdefault(uuid, heads.get(before, uuid))
    return f"{parent}.{fields.get('agentId') or head}"


def _trigger(content: object) -> str:
    parts = content if isinstance(content, list) else ()
    results = any(isinstance(part, dict) and part.get("type") == "tool_result" for part in parts)
    return "tool" if results else "user"


def _optional(where: str, usage: Fields, key: str) -> int:
    return integer(where, usage, key) if usage.get(key) is not None else 0

"""Codex's own session logs (rollout files): JSON lines. Lengths and times are read; texts are not.

    {"type": "session_meta", "timestamp", "payload": {"id"}}
    {"type": "response_item", "timestamp", "payload": {"type": "function_call_output" | "message"}}
    {"type": "event_msg", "timestamp", "payload": {"type": "token_count", "info": {
        "last_token_usage": {"input_tokens", "cached_input_tokens", "output_tokens"},
        "total_token_usage": {...}}}}

A count follows each answer; one with the same total as before is the same answer's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from workload.traces.fields import Fields, integer
from workload.traces.gather import Gatherer
from workload.traces.logged import LoggedRequest, add, unix_time
from workload.traces.prefixes import Prefixes

FORMAT = "codex"
_LINES = ("session_meta", "response_item", "event_msg", "turn_context", "compacted")


def is_codex(first: Fields) -> bool:
    return "payload" in first and first.get("type") in _LINES


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all requests; each file is a session. Raises TraceError."""
    add(gatherer, [request for lines in files for request in _requests(lines)])


def _requests(lines: Iterable[tuple[str, Fields]]) -> Iterator[LoggedRequest]:
    session: str | None = None
    sent_at_s: float | None = None
    kind, total = "user", None
    for where, fields in lines:
        payload = fields.get("payload")
        if not isinstance(payload, dict):
            continue
        session = session or str(payload.get("id") or where)
        match payload.get("type"):
            case "function_call_output" | "custom_tool_call_output":
                sent_at_s, kind = unix_time(where, fields), "tool"
            case "message" if payload.get("role") == "user":
                sent_at_s, kind = unix_time(where, fields), "user"
            case "token_count" if isinstance(info := payload.get("info"), dict):
                usage = info.get("last_token_usage")
                if not isinstance(usage, dict) or info.get("total_token_usage") == total:
                    continue
                total = info.get("total_token_usage")
                ended_at_s = unix_time(where, fields)
                yield LoggedRequest(
                    session=session,
                    parent=None,
                    sent_at_s=ended_at_s if sent_at_s is None else sent_at_s,
                    ended_at_s=ended_at_s,
                    prompt_tokens=integer(where, usage, "input_tokens"),
                    output_tokens=integer(where, usage, "output_tokens"),
                    cached_tokens=_cached_tokens(where, usage),
                    kind=kind,
                )


def _cached_tokens(where: str, usage: Fields) -> int | None:
    key = "cached_input_tokens"
    return None if usage.get(key) is None else integer(where, usage, key)

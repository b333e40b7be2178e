"""A session log of Claude Code, with a text that must not be found in anything made of it."""

from __future__ import annotations

from typing import Any

SENTINEL = "the crown jewels"


def claude(kind: str, at_s: float, content: Any, **more: Any) -> dict[str, Any]:
    message = {"role": kind, "content": content, **more.pop("message", {})}
    return {
        "type": kind,
        "sessionId": "s",
        "timestamp": f"2026-01-31T09:00:{at_s:06.3f}Z",
        "cwd": f"/home/{SENTINEL}",
        "message": message,
        **more,
    }


def answered(message_id: str, at_s: float, new: int, cached: int, out: int = 50, **more: Any):
    usage = {
        "input_tokens": 3,
        "cache_creation_input_tokens": new - 3,
        "cache_read_input_tokens": cached,
        "output_tokens": out,
    }
    text = [{"type": "text", "text": SENTINEL}]
    return claude("assistant", at_s, text, message={"id": message_id, "usage": usage}, **more)


RESULT = [{"type": "tool_result", "content": SENTINEL}]
CLAUDE = [
    {"type": "summary", "summary": SENTINEL, "leafUuid": "u"},
    claude("user", 0, SENTINEL),
    answered("m1", 4, 20_000, 0, out=1),
    answered("m1", 6, 20_000, 0, out=300),  # the same answer, its next content block
    claude("user", 8, RESULT),
    answered("m2", 11, 900, 20_000),
    claude("user", 20, SENTINEL, isSidechain=True, uuid="a1", parentUuid=None),
    answered("m3", 22, 9_000, 0, isSidechain=True, uuid="a2", parentUuid="a1"),
    claude("user", 30, RESULT),
    answered("m4", 33, 15_000, 7_000),  # something at the beginning has changed
    claude("user", 50, SENTINEL),
    answered("m5", 55, 8_000, 5_000),  # shorter: compacted
]

"""Answers of the embedded engine, in each dialect, and their events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from tokenswarm.engine.server.reply_text import draw_reply

A = TypeVar("A")
TOOLS = [{"type": "function", "function": {"name": "read"}}]


def answer_of(
    kind: Callable[..., A], num_tokens: int = 40, choice: Any = "none", effort: str = "none"
) -> A:
    """kind: the dialect's class of answers."""
    return kind(
        model="m",
        streamed=True,
        usage_at_the_end=True,
        usage_in_every_chunk=False,
        max_tokens_given=True,
        reply=draw_reply(0, b"p", num_tokens, TOOLS, choice, effort),
        number=7,
        created=1,
        prompt_tokens=100,
    )


def events(stream: bytes) -> list[dict[str, Any]]:
    """Of a stream whose events are named as their types."""
    found = []
    for written in stream.split(b"\n\n")[:-1]:
        name, data = written.split(b"\n")
        event = json.loads(data.removeprefix(b"data: "))
        assert name == b"event: " + event["type"].encode()
        found.append(event)
    return found

"""The dialects that coding agents speak, as values: how a turn is written, an answer read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokenswarm.client import chat, messages, responses
from tokenswarm.client.agent import PLAIN, Agent
from tokenswarm.client.delta import Delta
from workload.frames import Frames


class Opening(Protocol):
    """The body up to the first message of the user. Raises ValueError for an extra field that
    cannot be sent."""

    def __call__(
        self,
        model: str,
        tools: Sequence[bytes],
        system: bytes,
        extra: Mapping[str, object],
        *,
        session: str | None = None,
        agent: Agent = PLAIN,
    ) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Dialect:
    """call: the path below the API's base. output_fields: the names by which output tokens may be
    asked for, the usual one first. key_field: the header that carries the API key; headers: what
    else every request carries."""

    name: str
    call: str
    output_fields: tuple[str, ...]
    frames: Frames
    opening: Opening
    parse: Callable[[bytes], Delta]
    key_field: tuple[str, str] = ("Authorization", "Bearer ")
    headers: tuple[tuple[str, str], ...] = ()

    def closing(
        self, max_tokens: int, *, min_tokens: int | None = None, field: str | None = None
    ) -> bytes:
        """The body after the messages. field: one of output_fields, which carries max_tokens."""
        least = "" if min_tokens is None else f',"min_tokens":{min_tokens}'
        return f'],"{field or self.output_fields[0]}":{max_tokens}{least}}}'.encode()


CHAT = Dialect("chat", chat.CALL, chat.OUTPUT_FIELDS, chat.FRAMES, chat.opening, chat.parse)
MESSAGES = Dialect(
    "messages",
    messages.CALL,
    messages.OUTPUT_FIELDS,
    messages.FRAMES,
    messages.opening,
    messages.parse,
    key_field=("x-api-key", ""),
    headers=(("anthropic-version", "2023-06-01"),),
)
RESPONSES = Dialect(
    "responses",
    responses.CALL,
    responses.OUTPUT_FIELDS,
    responses.FRAMES,
    responses.opening,
    responses.parse,
)
DIALECTS = {dialect.name: dialect for dialect in (CHAT, MESSAGES, RESPONSES)}

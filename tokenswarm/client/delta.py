"""Delta: what one event of a streamed answer says, whatever the dialect; and how JSON is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import orjson

_MAX_COUNT = 2**53  # what every reader of JSON can hold; beyond it nobody has counted
UNNAMED_ERROR = "an error without a message"
# Finish reasons that mean an answer was given up: vLLM, SGLang, OpenRouter; the last is DeepSeek's.
_GIVEN_UP = frozenset(("abort", "aborted", "error", "insufficient_system_resource"))


class MalformedEvent(ValueError):
    """The payload is not JSON, or no event of the dialect."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server counted, in tokens; None where it does not say."""

    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    cache_written_tokens: int | None = None

    @property
    def cached_of_prompt(self) -> int | None:
        """None, too, where more was cached than there was: whoever says so has not counted."""
        cached, prompt = self.cached_tokens, self.prompt_tokens
        return None if cached is not None and prompt is not None and cached > prompt else cached

    def updated(self, new: Usage) -> Usage:
        """What both say: the later count holds, but unknown and 0 replace no count. A prompt that
        was counted with its cached part is not replaced by one without: that may be the rest."""
        whole = self.cached_tokens is None or new.cached_tokens is not None
        return Usage(
            later(self.prompt_tokens, new.prompt_tokens if whole else None) or new.prompt_tokens,
            later(self.cached_tokens, new.cached_tokens),
            later(self.output_tokens, new.output_tokens),
            later(self.reasoning_tokens, new.reasoning_tokens),
            later(self.cache_written_tokens, new.cache_written_tokens),
        )


def later(known: int | None, said: int | None) -> int | None:
    """A later count holds, but unknown and 0 replace none."""
    return said if said or known is None else known


@dataclass(frozen=True, slots=True)
class Delta:
    """What one event of the stream says. Empty strings are no output."""

    has_content: bool = False
    has_reasoning: bool = False
    has_tool_call: bool = False
    finish_reason: str | None = None
    usage: Usage | None = None
    chunk_tokens: int | None = None  # output tokens so far, this chunk included
    engine_at_s: float | None = None  # when it left, by the embedded engine's clock
    opens_call: bool = False  # a tool call begins; output only where no arguments come
    error: str | None = None
    done: bool = False

    @property
    def has_output(self) -> bool:
        return self.has_content or self.has_reasoning or self.has_tool_call


DONE = Delta(done=True)


def error_message(body: Any) -> str | None:
    """The message of an error object as servers write them, None where it is none:
    {"error": {"message": …}}, {"error": "…"}, {"object": "error", "message": …} and
    {"type": "error", "message": …}."""
    if not isinstance(body, dict):
        return None
    error = body.get("error")
    if not error and "error" in (body.get("object"), body.get("type")):
        error = body
    if not error:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return message if isinstance(message, str) and message else UNNAMED_ERROR


def finish(reason: str, said: str | None) -> str | None:
    """The error in a finish reason: where the answer was given up, or the server says one."""
    if said is None and reason not in _GIVEN_UP:
        return None
    return f"finish_reason {reason}" + (f": {said}" if said else "")


def json_object(payload: bytes) -> dict[str, Any]:
    """Raises MalformedEvent."""
    try:
        return mapping(orjson.loads(bytes(payload)), "chunk")  # orjson takes no subclass
    except orjson.JSONDecodeError as error:
        raise MalformedEvent(f"not JSON: {error}") from None


def named_error(payload: bytes) -> str:
    """The message of an event that is called "error", whatever its data are."""
    try:
        said = orjson.loads(bytes(payload))
    except orjson.JSONDecodeError:
        said = payload.decode("utf-8", "replace")
    return error_message(said) or error_message({"error": said}) or UNNAMED_ERROR


def mapping(value: Any, name: str) -> dict[str, Any]:
    if value is None and name != "chunk":
        return {}
    if not isinstance(value, dict):
        raise MalformedEvent(f"{name} is not an object")
    return value


def array(value: Any, name: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise MalformedEvent(f"{name} is not an array")
    return value


def text(fields: dict[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise MalformedEvent(f"{name} is not a string")
    return bool(value)


def count(fields: dict[str, Any], name: str) -> int | None:
    """None where the value is no whole number of 0 or more; 7.0 is 7."""
    value = fields.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= _MAX_COUNT else None


def second(fields: dict[str, Any], name: str) -> float | None:
    """A point in time; None where the value is none."""
    value = fields.get(name)
    return value if type(value) is float and 0 <= value < math.inf else None


def detail(fields: dict[str, Any], place: str, name: str) -> int | None:
    """A count one level down."""
    details = fields.get(place)
    return count(details, name) if isinstance(details, dict) else None

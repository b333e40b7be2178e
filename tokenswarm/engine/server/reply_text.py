"""What the engine answers: code-like text of an exact number of tokens, sometimes a tool call.

The text is read off one precomputed tape of pieces of about one token each, from a position that
follows from the seed and the prompt, so a reply costs nothing to produce and is the same on every
run. It is filler: no meaning, no model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import accumulate
from random import Random
from typing import Any

import orjson

TOOL_TURN_SHARE = 0.7  # docs/workload.md 1.1: 85.5% of requests end in tool use; less here, guess
BARE_CALL_SHARE = 0.5  # of tool turns, those without text before the call; guess
_TEXT_SHARE = 0.3  # of a tool turn's tokens, the text before the call; guess
_MIN_CALL_TOKENS = 3  # name and opening, one piece of argument, closing
# Share of an answer's tokens that are reasoning, by OpenAI's reasoning_effort. The shares are those
# of max_tokens that OpenRouter gives to models without an effort of their own.
EFFORTS = {"none": 0.0, "minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95}

_NAMES = (
    "path",
    "index",
    "count",
    "result",
    "value",
    "items",
    "total",
    "line",
    "block",
    "state",
    "node",
    "user",
    "key",
    "text",
)
_LINES = (
    "    for {0} in {1}:\n",
    "        if {0} is None:\n            return {1}\n",
    "    {0} = self.{1}({2})\n",
    "        {0} += len({1})\n",
    "def {0}({1}, {2}):\n",
    '    raise ValueError("{0} is not {1}")\n',
    "    return {0} + {1} * {2}\n",
    "# the {0} of each {1} after the {2}\n",
    "    assert {0} <= {1}, {2}\n",
    "        {0}[{1}] = {2}\n",
)
_PIECE = re.compile(r"\n? *[A-Za-z]+|\n? *[^A-Za-z\s]+|\s+")
_TAPE_LINES = 1_500
_TAPE_SEED = 20  # any: the tape is the same in every run


class Tape:
    """Pieces of about one token, joined; `read` is a slice. Reads wrap around."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.length = len(pieces)
        self._text = b"".join(pieces)
        self._ends = [0, *accumulate(map(len, pieces))]

    def read(self, start: int, count: int) -> bytes:
        """`count` pieces from piece `start` on (any integer)."""
        parts = []
        while count > 0:
            first = start % self.length
            last = min(first + count, self.length)
            parts.append(self._text[self._ends[first] : self._ends[last]])
            count -= last - first
            start += last - first
        return b"".join(parts)


@cache
def content_tape() -> Tape:
    """Pieces as they stand inside a JSON string."""
    return Tape([_escape(piece) for piece in _pieces()])


@cache
def arguments_tape() -> Tape:
    """Pieces as they stand inside a JSON string inside a JSON string (tool-call arguments)."""
    return Tape([_escape(_escape(piece).decode()) for piece in _pieces()])


def _pieces() -> list[str]:
    rng = Random(_TAPE_SEED)
    lines = (rng.choice(_LINES).format(*rng.sample(_NAMES, 3)) for _ in range(_TAPE_LINES))
    return _PIECE.findall("".join(lines))


def _escape(text: str) -> bytes:
    return orjson.dumps(text)[1:-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """One answer. The first tokens are reasoning, then come text_tokens of content, the rest are
    one tool call.

    position: where on the tape it starts. tool, argument: name of the function and of the one
    string argument; None for a reply without a call.
    """

    num_tokens: int
    text_tokens: int
    position: int
    reasoning_tokens: int = 0
    call_id: str = ""
    tool: str | None = None
    argument: str | None = None

    @property
    def call_start(self) -> int:
        """The first token of the tool call; num_tokens where there is none."""
        return self.reasoning_tokens + self.text_tokens

    def delta(self, first: int, last: int) -> bytes:
        """JSON delta of tokens [first, last). Holds two kinds where one turns into the next."""
        fields = []
        thought, said = self.reasoning_tokens, self.call_start
        if first < thought:
            text = self.escaped_text(first, min(last, thought))
            fields.append(b'"reasoning_content":"%b"' % text)
        if first < said and last > thought:
            text = self.escaped_text(max(first, thought), min(last, said))
            fields.append(b'"content":"%b"' % text)
        if last > said:
            call = self._call(max(first, said), last)
            fields.append(b'"tool_calls":[{"index":0,%b}]' % call)
        return b"{%b}" % b",".join(fields)

    def message(self) -> dict[str, Any]:
        """The whole answer as an assistant message."""
        text = self._decoded(self.reasoning_tokens, self.call_start)
        message: dict[str, Any] = {"role": "assistant", "content": text or None}
        if self.reasoning_tokens:
            message["reasoning_content"] = self._decoded(0, self.reasoning_tokens)
        if self.tool is not None:
            call = orjson.loads(b"{%b}" % self._call(self.call_start, self.num_tokens))
            message["tool_calls"] = [call]
        return message

    def _decoded(self, first: int, last: int) -> str:
        text: str = orjson.loads(b'"%b"' % self.escaped_text(first, last))
        return text

    def escaped_text(self, first: int, last: int) -> bytes:
        """Tokens [first, last) of reasoning or text, as they stand inside a JSON string."""
        return content_tape().read(self.position + first, last - first)

    def arguments(self, first: int, last: int) -> bytes:
        """Tokens [first, last) of the call's arguments, a JSON object, as they stand inside a JSON
        string: the first token opens it, the last closes it."""
        opens = first == self.call_start
        closes = last == self.num_tokens
        inner = last - first - opens - closes
        arguments = arguments_tape().read(self.position + first + opens, inner)
        if opens:
            arguments = _escape(f'{{"{self.argument}": "') + arguments
        return arguments + _escape('"}') if closes else arguments

    def _call(self, first: int, last: int) -> bytes:
        """Fields of the call for tokens [first, last); the first one names it."""
        arguments = self.arguments(first, last)
        if first != self.call_start:
            return b'"function":{"arguments":"%b"}' % arguments
        head = b'"id":%b,"type":"function",' % orjson.dumps(self.call_id)
        name = orjson.dumps(self.tool)
        return head + b'"function":{"name":%b,"arguments":"%b"}' % (name, arguments)


def draw_reply(
    seed: int,
    prompt_gist: bytes,
    num_tokens: int,
    tools: list[Any],
    tool_choice: Any = "auto",
    reasoning_effort: str = "none",
    reasoning_budget: int | None = None,
) -> Reply:
    """The reply to one prompt: the same for the same seed, prompt and length.

    tools: as in the request, [] for none. tool_choice: "none" never calls, "required" or a named
    function always does (given at least 3 tokens), otherwise TOOL_TURN_SHARE of the replies do.
    reasoning_effort: one of EFFORTS; reasoning_budget: in tokens, holds over it. At least one token
    is left for what is visible.
    """
    dice = blake2b(prompt_gist, key=str(seed).encode()[:64], digest_size=16).digest()
    coin, bare, which = (int.from_bytes(dice[i : i + 4]) / 2**32 for i in (0, 4, 8))
    position = int.from_bytes(dice[12:]) % content_tape().length
    forced = tool_choice == "required" or isinstance(tool_choice, dict)
    calls = forced or (tool_choice != "none" and coin < TOOL_TURN_SHARE)
    named = list(_functions(tools))
    effort = int(num_tokens * EFFORTS[reasoning_effort])
    reasoning = min(effort if reasoning_budget is None else reasoning_budget, num_tokens - 1)
    visible = num_tokens - reasoning
    if not named or not calls or visible < _MIN_CALL_TOKENS:
        return Reply(
            num_tokens=num_tokens,
            text_tokens=visible,
            position=position,
            reasoning_tokens=reasoning,
        )
    tool, argument = _chosen(named, which, tool_choice)
    return Reply(
        num_tokens=num_tokens,
        text_tokens=0 if bare < BARE_CALL_SHARE else int(visible * _TEXT_SHARE),
        position=position,
        reasoning_tokens=reasoning,
        call_id=f"call_{dice.hex()[:24]}",
        tool=tool,
        argument=argument,
    )


def _functions(tools: list[Any]) -> Iterator[tuple[str, str]]:
    """(name, first parameter) of every function that is declared well enough to be called."""
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            continue
        parameters = function.get("parameters")
        properties = parameters.get("properties") if isinstance(parameters, dict) else None
        first = next(iter(properties), "input") if isinstance(properties, dict) else "input"
        yield function["name"], first.replace('"', "").replace("\\", "")


def _chosen(named: list[tuple[str, str]], which: float, tool_choice: Any) -> tuple[str, str]:
    asked = tool_choice.get("function") if isinstance(tool_choice, dict) else None
    wanted = asked.get("name") if isinstance(asked, dict) else None
    for name, argument in named:
        if name == wanted:
            return name, argument
    return named[int(which * len(named))]

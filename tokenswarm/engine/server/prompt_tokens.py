"""From a request's messages to what the engine core needs: a token count and a chain of blocks.

The prompt is  tools | message 1 | ... | message n | generation prompt.  Every piece has a content
hash, and the *chain hash* up to a piece covers everything before it. A block belongs to the piece
that holds its last token; its key is the chain hash up to that piece. So a prompt that only grew
hits every full block of the old one, and prompts that share their first pieces share those
pieces' blocks exactly. What this gives up: two prompts that part inside a message share nothing
of that message (a real engine shares up to the last common block), and the block in which a
message ends counts as the next message's.

Token counts are remembered per piece by content hash, so only new text is tokenised.

The hashes are Python's own (SipHash, 64 bits, keyed anew in every process), of the text where it
lies: encoding 400 KB again to hash it with blake2b took three times as long. Two of a million
pieces collide with a chance of 3e-8, and nobody can aim at it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS, Segment
from tokenswarm.engine.server.errors import ApiError

_MAX_REMEMBERED = 200_000  # pieces, about 30 MB: 1,000 sessions of 200 messages. Guess.

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """The tokenizer as this module needs it; `workload.tokens` bound to one vocabulary."""

    name: str
    count_message: Callable[[Message], int]
    count_tools: Callable[[Sequence[Message]], int]
    generation_prompt_tokens: int


class Piece(NamedTuple):
    """The tools, or one message."""

    digest: int  # of its content alone
    chain: int  # of everything up to and including it
    content: Any


@dataclass(frozen=True, slots=True)
class Prompt:
    """num_tokens: with the generation prompt. chain: hash of all of it. gist: the last message and
    how long all of it is; the same in every process, so that replies can be drawn from it."""

    num_tokens: int
    segments: tuple[Segment, ...]
    chain: int
    gist: bytes


class PromptReader:
    """pieces = hash_pieces(...); remember(count(new_pieces(pieces))); prompt(pieces).

    `count` is the slow part. It touches no state, so it may run in another thread.
    """

    def __init__(self, counter: TokenCounter, max_remembered: int = _MAX_REMEMBERED) -> None:
        self._counter = counter
        self._max_remembered = max_remembered
        self._tokens: OrderedDict[int, int] = OrderedDict()  # by digest, oldest use first

    def new_pieces(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Those whose token count is not remembered."""
        return [piece for piece in pieces if piece.digest not in self._tokens]

    def count(self, pieces: Sequence[Piece]) -> dict[int, int]:
        """Token count by digest. Raises ApiError (400) for a message of the wrong form."""
        return {piece.digest: self._count_one(piece.content) for piece in pieces}

    def remember(self, counts: Mapping[int, int]) -> None:
        self._tokens.update(counts)

    def prompt(self, pieces: Sequence[Piece]) -> Prompt:
        """The prompt of pieces that are all remembered. Forgets the least recently used ones."""
        segments: list[Segment] = []
        total = end = 0
        for piece in pieces:
            total += self._tokens[piece.digest]
            self._tokens.move_to_end(piece.digest)
            if total // BLOCK_TOKENS > end:
                end = total // BLOCK_TOKENS
                segments.append(Segment(piece.chain, end))
        while len(self._tokens) > self._max_remembered:
            self._tokens.popitem(last=False)
        total += self._counter.generation_prompt_tokens
        gist = b"%d %d %b" % (len(pieces), total, _encode(pieces[-1].content))
        return Prompt(total, tuple(segments), pieces[-1].chain, gist)

    def _count_one(self, content: Any) -> int:
        if isinstance(content, list):
            return self._counter.count_tools(content)
        check_message(content)
        return self._counter.count_message(content)


def hash_pieces(tools: Sequence[Message], messages: Sequence[Message]) -> list[Piece]:
    """The prompt's pieces, tools first (also when there are none)."""
    pieces: list[Piece] = []
    chain = 0
    for content in (tools, *messages):
        digest = _digest(content)
        chain = hash((chain, digest))
        pieces.append(Piece(digest, chain, content))
    return pieces


def num_bytes(pieces: Sequence[Piece]) -> int:
    """Their size as JSON."""
    return sum(len(_encode(piece.content)) for piece in pieces)


def output_segment(prompt: Prompt, message: Message, num_tokens: int) -> Segment:
    """The blocks of the answer, found again by a prompt that sends `message` back as it was."""
    end = (prompt.num_tokens + num_tokens) // BLOCK_TOKENS
    return Segment(hash((prompt.chain, _digest(message))), end)


def _digest(content: Any) -> int:
    """Hash of a message or the tools, whatever the order of keys."""
    if not isinstance(content, dict):
        return hash(_encode(content))
    if None in content.values():  # clients add nulls or leave them out
        content = {name: value for name, value in content.items() if value is not None}
    try:
        return hash(frozenset(content.items()))
    except TypeError:  # a list or object inside: parts of a content, tool calls
        return hash(_encode(content))


def _encode(content: Any) -> bytes:
    try:
        return orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError as error:  # nested deeper than orjson writes (254)
        raise _malformed(str(error)) from None


def check_message(message: Any) -> None:
    """Raises ApiError (400) unless the message has the form that token counting relies on."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise _malformed("each message must be an object with a role")
    content = message.get("content")
    if not isinstance(content, str | list | None):
        raise _malformed("content must be a string, a list of parts, or null")
    for part in content if isinstance(content, list) else ():
        if not isinstance(part, dict):
            raise _malformed("each part of a content must be an object")
        if part.get("type") == "text" and not isinstance(part.get("text"), str):
            raise _malformed("a text part must have a string as its text")
    calls = message.get("tool_calls") or ()
    if not isinstance(calls, list | tuple) or not all(map(_is_call, calls)):
        raise _malformed("tool_calls must be a list of functions with name and arguments")


def _is_call(call: Any) -> bool:
    function = call.get("function") if isinstance(call, dict) else None
    return (
        isinstance(function, dict)
        and isinstance(function.get("name"), str)
        and isinstance(function.get("arguments"), str)
    )


def _malformed(message: str) -> ApiError:
    return ApiError(400, f"messages: {message}", param="messages")

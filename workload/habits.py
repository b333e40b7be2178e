"""Habits: what agents do to their prompts that breaks prefix caches, as changes of the sessions.

A prompt is taken apart into pieces: tools, system text, what the session began with, and what each
turn brought. A habit changes, shortens, adds or replaces pieces, and all that stands behind a
changed piece is new to a cache. Pure: the same session with and without a habit can be compared
turn by turn. Where the habits were seen stands in docs/habits.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import NamedTuple

from workload.replay import ReplayedSession
from workload.session import Session, Turn
from workload.spans import EndlessCache, Key, Kind, Span

TOOLS_SHARE = 0.6  # of tools and system text, as in workload.prompts
# Guesses, all of them: how often and how much, where reports give no number.
_OFTEN = 10  # turns between two changes of tools, memory or form
_SUMMARY_TURNS = 20
_SUMMARY_TOKENS = 3_000
_MEMORY_TOKENS = 2_000
_KEPT_RESULTS = 5  # turns whose tool results are still whole
_STUB_TOKENS = 20
_REASONING_SHARE = 0.5  # of a reply
_IMAGE_PIECE = 3  # the first that a turn brought


class HabitError(ValueError):
    """A habit that there is not: names it and what is accepted."""


class Piece(NamedTuple):
    """A stretch of a prompt. born: the number of the turn that brought it; changed: what is other
    than in the session without the habit, None where nothing is."""

    key: Key
    tokens: int
    kind: Kind
    reply_tokens: int
    everyone: bool
    born: int
    changed: int | None = None


Change = Callable[[list[Piece], int], list[Piece]]


@dataclass(frozen=True, slots=True)
class Habit:
    """summary: what it is; change: the pieces of turn number n as it leaves them."""

    summary: str
    change: Change


class HabitSession:
    """A session whose prompts are changed by habits, one after the other."""

    def __init__(
        self,
        base: Session | ReplayedSession,
        habits: tuple[str, ...],
        cache: EndlessCache | None = None,
    ) -> None:
        """cache: what is held of the prompts of a parent."""
        self.base = base
        self.name = base.name
        self._habits = habits
        self._cache = cache or EndlessCache()
        self._spans: tuple[Span, ...] = ()
        self._reply_tokens = 0
        self._born: dict[Key, int] = {}
        self._number = -1

    @property
    def growth_tokens(self) -> int:
        """The grain of a history."""
        return self.base.growth_tokens

    def next_turn(self) -> Turn | None:
        """The base session's next turn, with the prompt as the habits leave it."""
        turn = self.base.next_turn()
        if turn is None:
            return None
        self._number += 1
        self._spans = self._spelled(turn)
        self._reply_tokens = turn.reply_tokens
        pieces = self._pieces(opened(self._spans))
        for habit in self._habits:
            pieces = HABITS[habit].change(pieces, self._number)
        content = chained(pieces, self.name)
        held_tokens = self._cache.held_tokens(content)
        self._cache.keep(content)
        prompt_tokens = content[-1].end_tokens
        return replace(
            turn,
            prompt_tokens=prompt_tokens,
            new_tokens=prompt_tokens - held_tokens,
            ideal_cached_tokens=held_tokens,
            content=content,
        )

    def subagent(self, k: int) -> HabitSession:
        """Of those that the last turn waits for, number `k`; it has the same habits."""
        return HabitSession(self.base.subagent(k), self._habits, self._cache)

    def _spelled(self, turn: Turn) -> tuple[Span, ...]:
        """What the base turn consists of; a profile's says it by its kind."""
        if turn.content is not None:
            return turn.content
        key: Key = (self.name, turn.index)
        if turn.kind in ("start", "compaction"):
            shared = turn.ideal_cached_tokens
            first = Span(("shared", shared), shared, "start", 0, shared, everyone=True)
            return (first, Span(key, turn.prompt_tokens, "user"))
        kind: Kind = "user" if turn.kind == "user" else "tool"
        return (*self._spans, Span(key, turn.prompt_tokens, kind, self._reply_tokens))

    def _pieces(self, spans: Sequence[Span]) -> list[Piece]:
        pieces, begin = [], 0
        for span in spans:
            born = self._born.setdefault(span.key, self._number)
            pieces.append(
                Piece(
                    span.key,
                    span.end_tokens - begin,
                    span.kind,
                    span.reply_tokens,
                    span.everyone,
                    born,
                )
            )
            begin = span.end_tokens
        return pieces


def opened(spans: Sequence[Span]) -> list[Span]:
    """The same prompt with tools, system text and first messages in spans of their own."""
    first, *rest = spans
    tools = round(TOOLS_SHARE * first.opening_tokens)
    parts = [
        Span((*first.key, "tools"), tools, "tools", everyone=first.everyone),
        Span((*first.key, "system"), first.opening_tokens, "system", everyone=first.everyone),
        Span((*first.key, "work"), first.end_tokens, "user", everyone=first.everyone),
    ]
    begins = (0, tools, first.opening_tokens)
    filled = [p for p, begin in zip(parts, begins, strict=True) if p.end_tokens > begin]
    return [*filled, *rest]


def chained(pieces: Sequence[Piece], name: str) -> tuple[Span, ...]:
    """As spans: a changed piece has another key, and so has every piece behind it. name: of the
    session, which alone has changed so."""
    spans, end, behind = [], 0, ""
    for piece in pieces:
        end += piece.tokens
        if piece.changed is not None:
            seen = f"{name}/{behind}/{piece.key}/{piece.changed}".encode()
            behind = blake2b(seen, digest_size=8).hexdigest()
        key = (*piece.key, behind) if behind else piece.key
        everyone = piece.everyone and not behind
        spans.append(Span(key, end, piece.kind, piece.reply_tokens, everyone=everyone))
    return tuple(spans)


def require_habits(names: Sequence[str]) -> tuple[str, ...]:
    """Raises HabitError for a name that is none."""
    for name in names:
        if name not in HABITS:
            raise HabitError(f"--habit {name!r}: accepted are {', '.join(HABITS)}")
    return tuple(names)


def _first(pieces: Sequence[Piece], kinds: Sequence[Kind]) -> int:
    """Where the first piece of these kinds stands; the last piece where there is none."""
    for place, piece in enumerate(pieces):
        if piece.kind in kinds:
            return place
    return len(pieces) - 1


def _changed(pieces: list[Piece], place: int, version: int) -> list[Piece]:
    pieces[place] = pieces[place]._replace(changed=version)
    return pieces


_MESSAGES: tuple[Kind, ...] = ("user", "tool")


def _billing_line(pieces: list[Piece], n: int) -> list[Piece]:
    return _changed(pieces, _first(pieces, ("system",)), n)


def _clock(pieces: list[Piece], n: int) -> list[Piece]:
    return _changed(pieces, _first(pieces, _MESSAGES), n)


def _tools_reordered(pieces: list[Piece], n: int) -> list[Piece]:
    return _changed(pieces, 0, n)


def _tools_toggled(pieces: list[Piece], n: int) -> list[Piece]:
    return _changed(pieces, 0, n // _OFTEN)


def _reserialised(pieces: list[Piece], n: int) -> list[Piece]:
    return _changed(pieces, _first(pieces, _MESSAGES), n // _OFTEN)


def _image_reencoded(pieces: list[Piece], n: int) -> list[Piece]:
    if len(pieces) <= _IMAGE_PIECE:
        return pieces
    return _changed(pieces, _IMAGE_PIECE, n)


def _memory_on_top(pieces: list[Piece], n: int) -> list[Piece]:
    place, version = _first(pieces, _MESSAGES), n // _OFTEN
    memory = Piece(("memory",), _MEMORY_TOKENS, "user", 0, False, n, changed=version)
    return [*pieces[:place], memory, *pieces[place:]]


def _results_truncated(pieces: list[Piece], n: int) -> list[Piece]:
    return [
        piece._replace(tokens=piece.reply_tokens + _STUB_TOKENS, changed=0)
        if piece.kind == "tool"
        and n - piece.born >= _KEPT_RESULTS
        and piece.tokens > piece.reply_tokens + _STUB_TOKENS
        else piece
        for piece in pieces
    ]


def _reasoning_dropped(pieces: list[Piece], n: int) -> list[Piece]:
    asked = max((k for k, piece in enumerate(pieces) if piece.kind == "user"), default=-1)
    left = []
    for k, piece in enumerate(pieces):
        dropped = round(_REASONING_SHARE * piece.reply_tokens) if k <= asked else 0
        if dropped:
            piece = piece._replace(
                tokens=piece.tokens - dropped,
                reply_tokens=piece.reply_tokens - dropped,
                changed=0,
            )
        left.append(piece)
    return left


def _summary(pieces: list[Piece], n: int) -> list[Piece]:
    version = n // _SUMMARY_TURNS
    if not version:
        return pieces
    place = _first(pieces, _MESSAGES)
    summary = Piece(("summary",), _SUMMARY_TOKENS, "user", 0, False, n, changed=version)
    later = [piece for piece in pieces[place:] if piece.born > version * _SUMMARY_TURNS]
    return [*pieces[:place], summary, *later]


HABITS: dict[str, Habit] = {
    "billing-line": Habit(
        "a line in the first system text that every request changes", _billing_line
    ),
    "clock": Habit("the time of day in front of the first message", _clock),
    "tools-reordered": Habit("tools in another order in every request", _tools_reordered),
    "tools-toggled": Habit(f"a tool comes or goes every {_OFTEN} turns", _tools_toggled),
    "results-truncated": Habit(
        f"tool results older than {_KEPT_RESULTS} turns are cut to a stub", _results_truncated
    ),
    "reserialised": Habit(
        f"the history is written in another form every {_OFTEN} turns", _reserialised
    ),
    "reasoning-dropped": Habit(
        "reasoning is dropped from replies before the user's last message", _reasoning_dropped
    ),
    "image-reencoded": Habit(
        "an image of an early turn has other bytes in every request", _image_reencoded
    ),
    "summary": Habit(f"a summary replaces the history every {_SUMMARY_TURNS} turns", _summary),
    "memory-on-top": Habit(
        f"memory of other sessions on top of the messages, anew every {_OFTEN} turns",
        _memory_on_top,
    ),
}

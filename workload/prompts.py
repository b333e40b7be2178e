"""Prompts: a session's turns as the messages of a coding agent, in pre-encoded pieces.

A conversation only ever appends, so the next prompt starts with the last one byte for byte, until a
compaction begins a new life that keeps the shared prefix alone. Preparing a turn is a little
arithmetic over the corpus' cumulative sums: no tokenising, no JSON encoding, no copy of history.

    tools, system (shared by all) | user (salt, request, files) | assistant, tool, ... | user

What stands around the texts is the dialect's (`workload.frames`): one corpus serves all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from workload.corpus import Corpus, Tape, ToolCall, salt_line
from workload.frames import Frame, Frames, Piece
from workload.session import FROM_NOTHING, Turn
from workload.tokens import GENERATION_PROMPT_TOKENS, MESSAGE_OVERHEAD_TOKENS

# What tools answer, by share of calls. Between TraceLab (shell 76%, edit 11%, read/search 9%) and
# agents with a read tool of their own; guess.
_TOOL_RESULTS = {"read": 0.35, "shell": 0.1, "source": 0.1, "test": 0.2, "grep": 0.15, "diff": 0.1}
_ATTACHMENTS = ("source", "test", "diff", "shell")  # what people paste into a request
_REPLY_TEXTS = ("source", "prose")
# Of the shared prefix, as in Claude Code: 12.3k of schemas beside 2.8k of prompt and the
# repository's rules (docs/workload.md 1.1), within the profile's 20k.
_TOOLS_SHARE = 0.6
# A developer's first message of a session: a request and this share of the private context.
_OPENING_SHARE = 0.2
_DESCRIBED = b'"description":"'
# Below this a reply is a bare tool call.
_MIN_LEAD_TOKENS = 40
# Reported / planned tokens beyond this factor is another tokenizer's bug, not a drift to follow.
_MAX_DRIFT = 4.0


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """What every session of every user begins with: tool schemas and the system message.

    tools: schemas as chat completions have them, none where none fits; system: the text, escaped
    for JSON; tokens: of both.
    """

    tools: tuple[bytes, ...]
    system: bytes
    tokens: int


def shared_prefix(corpus: Corpus, tokens: int, salt: str | None = None) -> SharedPrefix:
    """The shared prefix of about `tokens` tokens (to half a line). salt: one that has nothing in
    common with those of other salts, but for the name of a tool."""
    tools = only_tools(corpus, round(tokens * _TOOLS_SHARE), salt)
    salted = 0 if salt is None else corpus.salt_tokens
    pieces, system_tokens = _joined(
        corpus.tapes["system"].take(0, corpus.tapes["system"].tokens),
        corpus.tapes["prose"],
        tokens - tools.tokens - MESSAGE_OVERHEAD_TOKENS - salted,
    )
    return SharedPrefix(
        tools=tools.tools,
        system=_salted(salt) + b"".join(pieces),
        tokens=tools.tokens + MESSAGE_OVERHEAD_TOKENS + salted + system_tokens,
    )


def only_tools(corpus: Corpus, tokens: int, salt: str | None = None) -> SharedPrefix:
    """As many tools as fit. salt: as of `shared_prefix`."""
    chosen: list[bytes] = []
    used = 0 if salt is None else corpus.salt_tokens
    for schema, cost in corpus.tools:
        if used + cost > tokens:
            break
        chosen.append(schema)
        used += cost
    if not chosen:
        return SharedPrefix(tools=(), system=b"", tokens=0)
    chosen[0] = chosen[0].replace(_DESCRIBED, _DESCRIBED + _salted(salt), 1)
    return SharedPrefix(tools=tuple(chosen), system=b"", tokens=used)


def with_system(
    corpus: Corpus, prefix: SharedPrefix, tokens: int, rng: Random, salt: str
) -> SharedPrefix:
    """The prefix with more system text, up to about `tokens` in all. The text begins with a line
    that no other salt has."""
    prose = corpus.tapes["prose"]
    fixed = corpus.salt_tokens + (0 if prefix.system else MESSAGE_OVERHEAD_TOKENS)
    start = rng.randrange(prose.n_units)
    pieces, taken = prose.take(start, tokens - prefix.tokens - fixed)
    return SharedPrefix(
        tools=prefix.tools,
        system=prefix.system + _salted(salt) + b"".join(pieces),
        tokens=prefix.tokens + fixed + taken,
    )


def _salted(salt: str | None) -> bytes:
    """The line of a salt, escaped for JSON; nothing without one."""
    return b"" if salt is None else salt_line(salt)[:-1].encode() + b"\\n"


def _joined(
    first: tuple[list[memoryview], int], tape: Tape, tokens: int, start: int = 0
) -> tuple[list[memoryview], int]:
    """`first`, then text of the tape up to `tokens` in all."""
    pieces, taken = first
    more, more_taken = tape.take(start, tokens - taken)
    return pieces + more, taken + more_taken


class Conversation:
    """The growing prompt of one session.

    segments: pre-encoded pieces of the messages after tools and system text; body_bytes: their
    length; prompt_tokens: of the whole request (shared prefix and opened reply included);
    ideal_cached_tokens: the part that an endless cache holds from this session's last turn (not
    the last reply: the scripted one in the history is not the one that the engine wrote).
    """

    def __init__(
        self,
        corpus: Corpus,
        shared: SharedPrefix,
        frames: Frames,
        name: str,
        *,
        seed: int,
        salt: str,
        growth_tokens: int,
        drift: float = 1.0,
        reasoning: bool = False,
    ) -> None:
        """name: the session's; salt: of the run, "" under --warm; growth_tokens: typical growth
        per turn, the grain of the history that a session starts with; drift: reported / planned
        tokens; reasoning: the words before a tool call are the model's reasoning, and there are
        always some."""
        self._corpus = corpus
        self.shared = shared
        self._frames = frames
        self._reasoning = reasoning
        self._marked: deque[tuple[int, Frame]] = deque()  # segments that end with a cache mark
        self._salt = f"{salt}/{name}"
        self._rng = Random(f"{seed}/{name}")
        self._growth_tokens = growth_tokens
        self._lives = 0
        self._reply_tokens = 0
        self._tokens = 0
        self.drift = self._planned_drift = drift
        self.segments: list[Piece] = []
        self.body_bytes = 0
        self.ideal_cached_tokens = 0

    @property
    def prompt_tokens(self) -> int:
        return self._tokens + GENERATION_PROMPT_TOKENS

    @property
    def planned_prompt_tokens(self) -> int:
        """What the server is expected to count: prompt_tokens x the drift it was planned with."""
        return round(self.prompt_tokens * self._planned_drift)

    @property
    def planned_cached_tokens(self) -> int:
        """ideal_cached_tokens, in the server's tokens as above."""
        return round(self.ideal_cached_tokens * self._planned_drift)

    def advance(self, turn: Turn) -> None:
        """Brings the prompt to the turn's size: the scripted reply to the previous turn, then what
        the trigger brings."""
        self._planned_drift = self.drift
        target = round(turn.prompt_tokens / self.drift) - GENERATION_PROMPT_TOKENS
        if turn.kind in FROM_NOTHING:
            self._begin(target, "summary" if turn.kind == "compaction" else "request")
        else:
            self.ideal_cached_tokens = self._tokens
            reply_tokens = round(self._reply_tokens / self.drift)
            if turn.kind == "tool":
                self._call_tool(reply_tokens, target)
            else:
                self._answer(reply_tokens)
                self._ask(target, "request")
        self._reply_tokens = turn.reply_tokens

    def calibrate(self, reported_prompt_tokens: int) -> None:
        """Learns from the server's own count of the current prompt how many of its tokens one
        planned token is. Later turns are planned with it; the text already sent stays. A count
        beyond _MAX_DRIFT is not followed at all."""
        drift = reported_prompt_tokens / self.prompt_tokens
        if 1 / _MAX_DRIFT <= drift <= _MAX_DRIFT:
            self.drift = drift

    def _begin(self, target: int, phrase: str) -> None:
        """A new life: shared prefix, first request, and as much work as the target has room for."""
        self.segments = []
        self.body_bytes = 0
        self._marked.clear()
        self._tokens = self.shared.tokens
        self.ideal_cached_tokens = self.shared.tokens
        self._open(target, phrase, f"{self._salt}/{self._lives}")
        self._lives += 1

    def _open(self, target: int, phrase: str, salt_seed: str) -> None:
        """The first request, behind a line of its own, and work up to the target."""
        salt = _salted(salt_seed)
        private_tokens = target - self._tokens
        opening = int(private_tokens * _OPENING_SHARE)
        if private_tokens - opening < self._growth_tokens:
            opening = private_tokens
        self._ask(self._tokens + opening, phrase, salt)
        for step in self._steps(target - self._tokens):
            # A reply is a small part of a step: 450 of 2k-8k tokens in the profiles.
            self._call_tool(step // 8, self._tokens + step)

    def _steps(self, tokens: int) -> Iterator[int]:
        """Cuts a history into exchanges of about the session's growth per turn."""
        while tokens > 0:
            step = round(self._growth_tokens * self._rng.uniform(0.5, 1.5))
            if tokens - step < self._growth_tokens // 2:
                step = tokens
            yield step
            tokens -= step

    def _ask(self, target: int, phrase: str, salt: bytes = b"") -> None:
        """A message of the developer: salt, a sentence, and pasted text up to the target."""
        tape = self._corpus.tapes[phrase]
        sentence = tape.unit(self._rng.randrange(tape.n_units))
        salt_tokens = self._corpus.salt_tokens if salt else 0
        wanted = target - self._tokens - MESSAGE_OVERHEAD_TOKENS - salt_tokens
        attachment, start = self._document(self._rng.choice(_ATTACHMENTS))
        pieces, tokens = _joined(sentence, attachment, wanted, start)
        self._hear(self._frames.user, salt, pieces)
        self._tokens += MESSAGE_OVERHEAD_TOKENS + salt_tokens + tokens

    def _answer(self, reply_tokens: int) -> None:
        """The agent's closing words of a piece of work."""
        text, taken = self._reply_text(reply_tokens - MESSAGE_OVERHEAD_TOKENS)
        if not text:  # words all the same: Anthropic refuses an empty text
            text, taken = self._lead()
        self._say(text)
        self._tokens += MESSAGE_OVERHEAD_TOKENS + taken

    def _call_tool(self, reply_tokens: int, target: int) -> None:
        """The agent's reply with a tool call, then the tool's result up to the target."""
        (kind,) = self._rng.choices(tuple(_TOOL_RESULTS), tuple(_TOOL_RESULTS.values()))
        tape, start, call = self._called(kind)
        text_tokens = reply_tokens - MESSAGE_OVERHEAD_TOKENS - call.tokens
        text, taken = self._reply_text(text_tokens)
        if self._reasoning and not text:  # some all the same: its absence is what is refused
            text, taken = self._lead()
        reply = MESSAGE_OVERHEAD_TOKENS + call.tokens + taken
        room = target - self._tokens - reply - MESSAGE_OVERHEAD_TOKENS
        result, result_tokens = tape.take(start, room)
        # Nine letters and digits, as Mistral's models have it, who take no other.
        call_id = f"{self._rng.getrandbits(36):09x}".encode()
        written = self._frames.call(call_id, call)
        if self._reasoning:
            self._say([], written, reasoning=text)
        else:
            self._say(text, written)
        self._hear(self._frames.result(call_id), b"", result)
        self._tokens += reply + MESSAGE_OVERHEAD_TOKENS + result_tokens

    def _reply_text(self, tokens: int) -> tuple[list[memoryview], int]:
        if tokens < _MIN_LEAD_TOKENS:
            return [], 0
        lead = self._lead()
        tape, start = self._document(self._rng.choice(_REPLY_TEXTS))
        return _joined(lead, tape, tokens, start)

    def _lead(self) -> tuple[list[memoryview], int]:
        leads = self._corpus.tapes["lead"]
        return leads.unit(self._rng.randrange(leads.n_units))

    def _called(self, kind: str) -> tuple[Tape, int, ToolCall]:
        tape = self._corpus.tapes[kind]
        n = self._rng.randrange(len(tape.calls))
        return tape, int(tape.document_starts[n]), tape.calls[n]

    def _document(self, kind: str) -> tuple[Tape, int]:
        tape, start, _ = self._called(kind)
        return tape, start

    def _say(
        self,
        text: list[memoryview],
        call: bytes | None = None,
        *,
        reasoning: Sequence[memoryview] = (),
    ) -> None:
        """The agent's message."""
        self._append(tuple(self._frames.reply_pieces(list(reasoning), text, call)))

    def _hear(self, frame: Frame, salt: bytes, text: list[memoryview]) -> None:
        """A message to the agent. It carries a cache mark, and the oldest one goes."""
        comma = b"," if self.segments else b""
        marks = self._frames.marks
        end = frame.marked_end if marks else frame.end
        self._append((comma + frame.begin + salt, *text, end))
        if not marks:
            return
        self._marked.append((len(self.segments) - 1, frame))
        if len(self._marked) > marks:
            place, unmarked = self._marked.popleft()
            self.segments[place] = unmarked.end
            self.body_bytes -= len(unmarked.marked_end) - len(unmarked.end)

    def _append(self, pieces: Sequence[Piece]) -> None:
        self.segments.extend(pieces)
        self.body_bytes += sum(map(len, pieces))

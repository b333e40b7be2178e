"""One turn's answer: bytes with their stamps in, an Observation out. Sans-I/O, no clock."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import orjson

from tokenswarm.client import chat
from tokenswarm.client.clock import Stamp
from tokenswarm.client.delta import Delta, MalformedEvent, Usage, error_message
from tokenswarm.client.observation import Observation
from tokenswarm.client.response import HttpResponse
from tokenswarm.client.sse import EventTooLarge, SseDecoder
from tokenswarm.measure.foreign_words import one_line

# An error body is read this far to classify it (guess: messages are a few hundred bytes).
MAX_ERROR_BYTES = 64 * 1024
# A whole answer; a 100k-token answer of one-token chunks is about 30 MB.
MAX_ANSWER_BYTES = 256 * 1024 * 1024
MAX_DETAIL_CHARS = 200
MAX_REPLICA_CHARS = 64  # of a name (guess: an address has at most 47)
# After finish_reason the usage and [DONE] follow at once; this long is waited for them (guess).
FINISH_GRACE_S = 2.0
# Output chunks beyond so many times max_tokens and so many more are an answer without an end. A
# chunk may be less than a token: pieces of a tool call's arguments (guesses).
ENDLESS_FACTOR = 4
ENDLESS_SLACK = 256

# What servers say of a prompt that is too long, in lower case: OpenAI's code; llama.cpp's type;
# vLLM "maximum context length is", "longer than the maximum model length of"; SGLang "longer
# than the model's context length"; TGI "`inputs` tokens + `max_new_tokens` must be <=";
# Anthropic "prompt is too long"; TensorRT-LLM "should not exceed max_seq_len"; Moonshot "exceeded
# model token limit"; SGLang also "exceeds the maximum allowed length"; Gemini "exceeds the maximum
# number of tokens allowed"
_CONTEXT_OVERFLOW = re.compile(
    r"context_length_exceeded|exceed_context_size|context (length|size|window)"
    r"|maximum model length|max_seq_len|max_model_len|(prompt|input) is too long"
    r"|model token limit|maximum allowed length|maximum number of tokens allowed"
    r"|`inputs` tokens \+ `max_new_tokens` must be"
)
# Where an answer that is not streamed has its text: chat completions, Messages, Responses.
_WHOLE = frozenset(("choices", "content", "output"))
# 400 by all but TGI (422); 413 by some gateways.
_OVERFLOW_STATUSES = (400, 413, 422)


class Reply:
    """Accumulates what is seen of one answer until `outcome` is set.

    parse: the wire format. cancel_after_chunks: the planned interrupt, in output chunks.
    max_tokens: what was asked for; far more than that is no answer any more.
    engine_stamps: chunks came when the embedded engine says, in driven time.
    secrets: the API key and others, struck from whatever the server says.
    After every `feed` look at `outcome`; when it is set, `settled` says whether the HTTP message
    is over too, and `reusable` whether the connection may carry the next turn.
    """

    def __init__(
        self,
        *,
        parse: Callable[[bytes], Delta] = chat.parse,
        cancel_after_chunks: int | None = None,
        max_tokens: int | None = None,
        secrets: Sequence[str] = (),
        engine_stamps: bool = False,
    ) -> None:
        if cancel_after_chunks is not None and cancel_after_chunks < 1:
            raise ValueError(f"cancel_after_chunks {cancel_after_chunks} is not at least 1")
        self._parse = parse
        self._cancel_after_chunks = cancel_after_chunks
        self._max_chunks = (
            None if max_tokens is None else ENDLESS_FACTOR * max_tokens + ENDLESS_SLACK
        )
        self._secrets = secrets
        self._engine_stamps = engine_stamps
        self._http = HttpResponse()
        self._sse = SseDecoder()
        self._whole_body: list[bytes] = []  # of an answer that is no event stream
        self._body_bytes = 0
        self._events = 0

        self.outcome: str | None = None
        self.started = False  # a byte has arrived
        self.head_at: float | None = None
        self.heard_at: float | None = None  # the last read with output, by the host's clock
        self.finished_at: float | None = None  # finish_reason is known: its last event
        self._detail = ""
        self._ended_at: float | None = None
        self._first_token_at: float | None = None
        self._last_token_at: float | None = None
        self._first_visible_at: float | None = None
        self._usage = Usage()
        self._output_chunks = 0
        self._first_chunk_tokens: int | None = None
        self._chunk_gaps_s: list[float] = []
        self._all_kernel = True
        self._stamp_lag_s = 0.0
        self._coalesced_reads = 0
        self._coalesced_chunks = 0
        self._first_stamp_chunks = 0
        self._first_stamp_tokens: int | None = None
        self._finish_reason: str | None = None
        self._open_call: tuple[Delta, Stamp] | None = None  # begun, without arguments so far

    @property
    def refused(self) -> bool:
        """The head carries a status other than 2xx."""
        return self._http.status is not None and not 200 <= self._http.status < 300

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer, by name in lower case; none where its head has not come."""
        return self._http.headers

    @property
    def settled(self) -> bool:
        """Nothing more is expected: the HTTP message is complete."""
        return self._http.complete

    @property
    def reusable(self) -> bool:
        return self._http.complete and self._http.keep_alive and self.outcome != "cancelled"

    def feed(self, received: bytes, stamp: Stamp) -> None:
        """What one read returned, and when it arrived. Never raises."""
        self.started = True
        had_head = self._http.status is not None
        body = self._http.feed(received)
        if self._http.status is not None and not had_head:
            self.head_at = stamp.at_s
            self._check_head(stamp.at_s)
        if body and self.outcome is None:
            self._take_body(body, stamp)
        if self._http.flaw is not None:
            self.fail("malformed", self._http.flaw, stamp.at_s)
        elif self._http.complete and self.outcome is None:
            self._end(stamp.at_s)

    def cut(self, detail: str, at_s: float) -> None:
        """The connection ended: for a body without length that is its end."""
        if not self.started:
            self.fail("connect", f"{detail} before the answer began", at_s)
        elif self.refused:
            self._judge_refusal(at_s)
        elif self._http.status is not None and not self._http.framed:
            self._end(at_s, clean=False)
        else:
            self.fail("truncated", detail, at_s)

    def fail(self, kind: str, detail: str, at_s: float) -> None:
        """End with this kind, unless the answer has already ended."""
        if self.outcome is None:
            self.outcome = kind
            self._detail = self._quote(detail)
            self._ended_at = at_s

    def overdue(self, at_s: float) -> None:
        """The deadline has passed."""
        if self.refused:
            self._judge_refusal(at_s)
        elif self.finished_at is not None:
            self._finish(self.finished_at)
        elif self.heard_at is None:
            self.fail("first_token_timeout", "no output in time", at_s)
        else:
            self.fail("stall_timeout", f"nothing after {self._output_chunks} chunks", at_s)

    def observation(
        self,
        *,
        sent_at: float | None,
        body_sent_at: float | None,
        new_connection: bool,
        now: float,
    ) -> Observation:
        """What has been seen so far; `unfinished`, ended now, where the answer has not ended."""
        kernel = self._all_kernel and self._output_chunks > 0
        headers = self._http.headers
        return Observation(
            sent_at=sent_at,
            body_sent_at=body_sent_at,
            head_at=self.head_at,
            first_token_at=self._first_token_at,
            first_visible_at=self._first_visible_at,
            last_token_at=self._last_token_at,
            ended_at=now if self._ended_at is None else self._ended_at,
            prompt_tokens=self._usage.prompt_tokens,
            cached_tokens=self._usage.cached_of_prompt,
            cache_written_tokens=self._usage.cache_written_tokens,
            output_tokens=self._usage.output_tokens,
            reasoning_tokens=self._usage.reasoning_tokens,
            output_chunks=self._output_chunks,
            first_chunk_tokens=self._first_chunk_tokens,
            chunk_gaps_s=tuple(self._chunk_gaps_s),
            stamps=self._stamps(kernel),
            stamp_lag_s=self._stamp_lag_s if kernel else 0.0,
            coalesced_reads=self._coalesced_reads,
            coalesced_chunks=self._coalesced_chunks,
            first_stamp_chunks=self._first_stamp_chunks,
            first_stamp_tokens=self._first_stamp_tokens,
            outcome=self.outcome or "unfinished",
            status=self._http.status,
            detail=self._detail,
            finish_reason=self._finish_reason,
            retry_after_s=positive_number(headers.get("retry-after")),
            sim_speed=positive_number(headers.get("x-sim-speed")) or None,
            replica=self._quote(headers.get("x-replica", ""))[:MAX_REPLICA_CHARS] or None,
            new_connection=new_connection,
        )

    def _stamps(self, kernel: bool) -> str:
        if self._engine_stamps and self._output_chunks:
            return "engine"
        return "kernel" if kernel else "clock"

    def _quote(self, text: str) -> str:
        # Before it is cut short: half a key is still a secret.
        for secret in self._secrets:
            text = text.replace(secret, "[key]")
        return one_line(text, MAX_DETAIL_CHARS)

    def _check_head(self, at_s: float) -> None:
        coding = self._http.coding
        if not self.refused and coding is not None:
            self.fail("malformed", f"{coding}; identity was asked for", at_s)

    @property
    def _content_type(self) -> str:
        return self._http.headers.get("content-type", "").partition(";")[0].strip().lower()

    def _take_body(self, body: bytes, stamp: Stamp) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > MAX_ANSWER_BYTES:
            self.fail("malformed", f"an answer of more than {MAX_ANSWER_BYTES} bytes", stamp.at_s)
        elif self.refused or self._content_type == "application/json":
            self._whole_body.append(body)
            if self._body_bytes > MAX_ERROR_BYTES:
                self._end(stamp.at_s)
        else:
            self._take_events(body, stamp)

    def _take_events(self, body: bytes, stamp: Stamp) -> None:
        chunks_before = self._output_chunks
        try:
            payloads = self._sse.decode(body)
        except EventTooLarge as error:
            self.fail("malformed", str(error), stamp.at_s)
            return
        for payload in payloads:
            self._take_payload(payload, stamp)
        if self._output_chunks - chunks_before > 1:
            self._coalesced_reads += 1

    def _take_payload(self, payload: bytes, stamp: Stamp) -> None:
        if not payload or self.outcome is not None:
            return
        self._events += 1
        try:
            delta = self._parse(payload)
        except MalformedEvent as error:
            self.fail("malformed", str(error), stamp.at_s)
            return
        if delta.usage is not None:
            self._usage = self._usage.updated(delta.usage)
        if delta.finish_reason is not None:
            self._finish_reason = self._quote(delta.finish_reason)
        if self._finish_reason is not None:
            self.finished_at = stamp.at_s
        if delta.error is not None:
            self.fail("stream_error", delta.error, stamp.at_s)
        elif delta.done:
            self._finish(stamp.at_s)
        elif delta.has_output:
            self._take_output(delta, stamp)
        elif delta.opens_call:
            self._open_call = delta, stamp

    def _take_output(self, delta: Delta, stamp: Stamp) -> None:
        at_s, lag_s = stamp
        self.heard_at = at_s
        if self._engine_stamps:
            if delta.engine_at_s is None:
                self.fail("malformed", "a chunk without x_sim_at in driven time", at_s)
                return
            at_s = delta.engine_at_s
        if self._last_token_at is None:
            self._first_token_at = at_s
            self._first_chunk_tokens = delta.chunk_tokens
        else:
            self._chunk_gaps_s.append(round(at_s - self._last_token_at, 6))
            if at_s == self._last_token_at:
                self._coalesced_chunks += 1
        if at_s == self._first_token_at:
            self._first_stamp_chunks += 1
            self._first_stamp_tokens = delta.chunk_tokens
        if self._first_visible_at is None and (delta.has_content or delta.has_tool_call):
            self._first_visible_at = at_s
        self._last_token_at = at_s
        self._output_chunks += 1
        if lag_s is None:
            self._all_kernel = False
        else:
            self._stamp_lag_s = max(self._stamp_lag_s, lag_s)
        if self._output_chunks == self._cancel_after_chunks:
            self.fail("cancelled", "", self.heard_at)
        elif self._max_chunks is not None and self._output_chunks > self._max_chunks:
            self.fail("endless", f"more than {self._max_chunks} chunks of output", self.heard_at)

    def _end(self, at_s: float, *, clean: bool = True) -> None:
        """The HTTP message is over, without [DONE] so far."""
        if self.refused:
            self._judge_refusal(at_s)
            return
        if self._content_type == "application/json":
            self._judge_whole_body(at_s)
            return
        if not self._take_rest(at_s, clean):
            self.fail("truncated", "closed within an event", at_s)
        if self.outcome is not None:
            return
        if self._finish_reason is not None:
            self._finish(at_s)
        elif not self._events and self._content_type not in ("", "text/event-stream"):
            self.fail("malformed", f"{self._content_type} instead of an event stream", at_s)
        elif clean and not self._output_chunks:
            self.fail("empty", "the stream ended without an event of output", at_s)
        else:
            self.fail("truncated", "the stream ended without finish_reason or [DONE]", at_s)

    def _take_rest(self, at_s: float, clean: bool) -> bool:
        """The event that the end came in; False where the end cut it short."""
        whole = not self._sse.inside
        for payload in self._sse.flush():
            try:
                self._parse(payload)
            except MalformedEvent:
                whole = clean
            else:
                whole = True
            if whole:
                self._take_payload(payload, Stamp(at_s, None))
        return whole or clean

    def _finish(self, at_s: float) -> None:
        if not self._output_chunks and self._open_call is not None:
            # A call without arguments: its name is all that the model wrote.
            delta, stamp = self._open_call
            self._take_output(replace(delta, has_tool_call=True), stamp)
        if self._output_chunks:
            self.fail("ok", "", at_s)
        elif (self._usage.output_tokens or 0) > 1:  # one is the token that ends an empty answer
            said = f"{self._usage.output_tokens} output tokens were counted and none sent"
            self.fail("withheld", said, at_s)
        else:
            self.fail("empty", "a complete answer without output", at_s)

    def _judge_refusal(self, at_s: float) -> None:
        status = self._http.status or 0
        body = b"".join(self._whole_body)[:MAX_ERROR_BYTES]
        text = body.decode("utf-8", "replace")
        said = error_message(_json(body)) or text
        if 300 <= status < 400:
            said = f"redirect to {self._http.headers.get('location', '?')} is not followed"
        self.fail(refusal_kind(status, text), f"{status}: {said}", at_s)

    def _judge_whole_body(self, at_s: float) -> None:
        body = _json(b"".join(self._whole_body))
        error = error_message(body)
        if error is not None:
            self.fail("stream_error", error, at_s)
        elif isinstance(body, dict) and not _WHOLE.isdisjoint(body):
            self.fail("malformed", "a whole completion: the server ignored stream=true", at_s)
        else:
            self.fail("malformed", "application/json instead of an event stream", at_s)


def refusal_kind(status: int, body: str) -> str:
    """The failure kind of a status that is not 2xx, and of what its body says."""
    if status in _OVERFLOW_STATUSES and _CONTEXT_OVERFLOW.search(body.lower()):
        return "context_overflow"
    if status in (401, 403):
        return "http_401"
    if status in (404, 429):
        return f"http_{status}"
    return "http_5xx" if status >= 500 else "http_4xx"


def positive_number(text: str | None) -> float | None:
    """A header's number, 0 or more; None where there is none. Retry-After's date form is None:
    the server's wall clock is not ours."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if number >= 0 and math.isfinite(number) else None


def _json(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None

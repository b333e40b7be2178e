"""Logged: requests of an agent's own log, which says how much a cache held, not what was sent.

A log has no hashes. A prompt that is not shorter than the one before it goes on from it, unless the
provider's cache, still alive, held less: then something at its beginning has changed. One that is
shorter has kept what the cache held.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from workload.traces.fields import Fields, text
from workload.traces.gather import Gatherer, Request
from workload.traces.prefixes import Prefixes
from workload.traces.turns import TraceError

# Anthropic's shorter and OpenAI's usual time to live of a cached prefix.
_CACHE_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedRequest:
    """session: a name; parent: of the session whose sub-agent it is; sent_at_s, ended_at_s: unix
    times; cached_tokens: what the provider's cache held, None where unknown."""

    session: str
    parent: str | None
    sent_at_s: float
    ended_at_s: float
    prompt_tokens: int
    output_tokens: int
    cached_tokens: int | None
    kind: str | None


def add(gatherer: Gatherer, requests: Iterable[LoggedRequest]) -> None:
    """Adds them in the order of their times; a parent that sends nothing is none."""
    ordered = sorted(requests, key=lambda request: request.sent_at_s)
    names = {request.session for request in ordered}
    begun_s = ordered[0].sent_at_s if ordered else 0.0
    numbers: dict[str, int] = {}
    before: dict[str, LoggedRequest] = {}
    nothing_shared = Prefixes()
    for request in ordered:
        name, parent = request.session, request.parent
        if name not in numbers:
            above = numbers.get(parent) if parent in names and parent is not None else None
            numbers[name] = gatherer.open(name, nothing_shared, parent=above)
        gatherer.add(
            numbers[name],
            Request(
                at_s=request.sent_at_s - begun_s,
                prompt_tokens=request.prompt_tokens,
                output_tokens=request.output_tokens,
                content=_kept_tokens(before.get(name), request),
                service_s=max(0.0, request.ended_at_s - request.sent_at_s),
                kind=request.kind,
            ),
        )
        before[name] = request


def _kept_tokens(before: LoggedRequest | None, request: LoggedRequest) -> int:
    if before is None:
        return 0
    longest = min(before.prompt_tokens, request.prompt_tokens)
    held = longest if request.cached_tokens is None else min(request.cached_tokens, longest)
    if request.prompt_tokens < before.prompt_tokens:
        return held if request.cached_tokens is not None else 0
    alive = request.sent_at_s - before.ended_at_s < _CACHE_S
    # A cache holds whole blocks; half of the prompt is more than any block.
    return held if alive and held < before.prompt_tokens / 2 else longest


def unix_time(where: str, fields: Fields, key: str = "timestamp") -> float:
    """Of an ISO date. Raises TraceError."""
    value = text(where, fields, key)
    try:
        return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
    except ValueError:
        raise TraceError(
            f"{where}: {key} = {value[:40]!r}; accepted: a date such as 2026-01-31T09:00:00Z"
        ) from None

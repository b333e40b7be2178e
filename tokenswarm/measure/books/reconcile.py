"""Reconcile: a run's own sums beside what the servers counted meanwhile, and why they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from tokenswarm.measure.books.series import Growth, Reading, growth
from tokenswarm.measure.record import TurnRecord

TOLERANCE = 0.005  # share; guess: what a page rounds and what is under way at its reading

BALANCED, EXPLAINED, FLAGGED = "balanced", "explained", "flagged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the books. ours: of turns whose usage the server gave; residual: server / ours - 1;
    state None: they cannot be held together, `reason` says why."""

    quantity: str
    server: float | None
    ours: float | None
    residual: float | None
    state: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class _Own:
    """What this run counts: ours, and what turns without usage may have made the server count."""

    quantity: str
    ours: float
    unknown: float
    unknown_turns: int


def reconcile(records: Iterable[TurnRecord], readings: Sequence[Reading]) -> tuple[Entry, ...]:
    """One entry for each of prompt, cached and generated tokens, requests and mean TTFT; none
    without readings or without a turn that was sent."""
    sent = [record for record in records if record.sent_at_s is not None]
    if not readings or not sent:
        return ()
    from_s = min(record.sent_at_s for record in sent if record.sent_at_s is not None)
    grown = growth(readings, from_s, max(record.ended_at_s for record in sent))
    own = [
        _own("requests", sent, _answered, lambda _record: 1),
        _own("prompt tokens", sent, lambda r: r.prompt_tokens, lambda r: r.planned_prompt_tokens),
        _own("cached tokens", sent, _cached, lambda r: r.planned_prompt_tokens),
        _own(
            "generated tokens",
            sent,
            lambda r: r.output_tokens,
            lambda r: r.planned_output_tokens,
        ),
    ]
    more = _more_requests(own[0], grown)
    return (*(_entry(line, grown, more) for line in own), _ttft(sent, grown))


def _own(
    quantity: str,
    sent: Sequence[TurnRecord],
    counted: Callable[[TurnRecord], int | None],
    planned: Callable[[TurnRecord], int],
) -> _Own:
    silent = [record for record in sent if counted(record) is None]
    return _Own(
        quantity,
        sum(counted(record) or 0 for record in sent),
        sum(map(planned, silent)),
        len(silent),
    )


def _answered(record: TurnRecord) -> int | None:
    return 1 if record.outcome in ("ok", "withheld") else None


def _cached(record: TurnRecord) -> int | None:
    """vLLM leaves them out of the usage where there are none."""
    return (record.cached_tokens or 0) if record.prompt_tokens is not None else None


def _more_requests(own: _Own, grown: Growth) -> float | None:
    """Requests that are not this run's, 0 within the tolerance; None where no page counts them."""
    server = grown.values.get("requests")
    if server is None:
        return None
    more = server - own.ours - own.unknown
    return more if more > TOLERANCE * own.ours else 0.0


def _entry(own: _Own, grown: Growth, more: float | None) -> Entry:
    server = grown.values.get(own.quantity.replace(" ", "_"))
    if server is None or grown.gap:
        why = grown.gap or "not on the page"
        return _line(own.quantity, server, own.ours, None, why)
    if server == own.ours == 0:
        return _line(own.quantity, server, own.ours, None, "neither counted any")
    if abs(server - own.ours) <= TOLERANCE * own.ours:
        return _line(own.quantity, server, own.ours, BALANCED, "")
    return _line(own.quantity, server, own.ours, *_reason(own, server, grown, more))


def _reason(own: _Own, server: float, grown: Growth, more: float | None) -> tuple[str | None, str]:
    """Whether a residual is explained, and by what; None where nobody can tell."""
    gap, tolerated = server - own.ours, TOLERANCE * own.ours
    if gap < 0 and grown.resets:
        return None, (
            f"counters fell {grown.resets} times: a server restarted, and what it counted between "
            "its last reading and that is lost"
        )
    if gap < 0:
        return FLAGGED, "the pages lack some of it: is each replica's page given?"
    if own.unknown_turns and gap <= own.unknown + tolerated:
        return EXPLAINED, (
            f"{own.unknown_turns:,} turns ended without usage: up to {own.unknown:,.0f} more"
        )
    if more is None:
        return FLAGGED, (
            "more than this run sent: another client, retries at a gateway, or tokens counted "
            "otherwise than in the usage"
        )
    if more:
        return FLAGGED, (
            f"{more:,.0f} requests that this run did not send: another client, or retries at a "
            "gateway"
        )
    return FLAGGED, "as many requests as this run sent: the page counts tokens unlike the usage"


def _line(
    quantity: str, server: float | None, ours: float | None, state: str | None, reason: str
) -> Entry:
    held = server is not None and ours and state is not None
    return Entry(
        quantity=quantity,
        server=server,
        ours=ours,
        residual=server / ours - 1 if held and server is not None and ours else None,
        state=state,
        reason=reason,
    )


def _ttft(sent: Sequence[TurnRecord], grown: Growth) -> Entry:
    """Both means: what lies between is network, gateway and any queue in front of the server."""
    total_s, count = grown.values.get("ttft_sum_s"), grown.values.get("ttft_count")
    server_s = total_s / count if total_s is not None and count else None
    seen = [ttft_s for record in sent if (ttft_s := record.ttft_s) is not None]
    ours_s = fmean(seen) if seen else None
    reason = grown.gap or "not on the page"
    if server_s is not None and ours_s is not None and not grown.gap:
        reason = f"{ours_s - server_s:+.3f} s: network, gateway and queues in front of the server"
    return Entry(
        quantity="TTFT mean, s",
        server=server_s,
        ours=ours_s,
        residual=None,
        state=None,
        reason=reason,
    )

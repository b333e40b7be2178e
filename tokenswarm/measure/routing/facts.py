"""Facts: what each replica served, and what turns lost that went to another one than before.

From the answers' X-Replica where there is one, from the counters of each replica's metrics page
where several are read, from the cached tokens alone otherwise: then a session that was evicted
looks like one that was sent elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tokenswarm.measure.books.series import Reading, growth
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.routing.policy import Guess, Served, guess
from workload.session import FROM_NOTHING

LEAST_NAMES = 10  # fewer may well be replicas, each with an answer or two (guess)
HEADER, PAGES, CACHED = "X-Replica", "metrics pages", "cached tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """turns: answered with a usage, by the header; requests that ended, by a page.
    hit_share: cached / prompt tokens, None where that is not told."""

    name: str
    turns: int
    prompt_tokens: float
    hit_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """source: what the losses are known from, HEADER or CACHED. by_header, by_page: none where that
    does not tell replicas apart. continuing: turns that repeat what their session sent before,
    with a usage; cold: of these, more than half of what they repeat beyond the prefix that all
    sessions share was prefilled again; moved, cold_moved: of all and of the cold, those that went
    to another replica than the turn before, None by CACHED; refilled_tokens: prefilled again though
    the replica of the turn before held them as it ended (CACHED: though any did)."""

    source: str
    by_header: tuple[Replica, ...]
    by_page: tuple[Replica, ...]
    continuing: int
    cold: int
    moved: int | None
    cold_moved: int | None
    refilled_tokens: int
    prompt_tokens: int  # of all turns with a usage
    sessions: int  # with at least two turns
    sessions_moved: int | None
    policy: Guess | None

    @property
    def cold_share(self) -> float | None:
        """Of the continuing turns, those that met a cold replica; by the header, because they had
        moved."""
        cold = self.cold if self.cold_moved is None else self.cold_moved
        return cold / self.continuing if self.continuing else None

    @property
    def replicas(self) -> tuple[Replica, ...]:
        """By the pages where there are any: a replica that never answers shows there alone."""
        return self.by_page or self.by_header


def routing(records: Iterable[TurnRecord], readings: Sequence[Reading]) -> Routing | None:
    """None where nothing tells replicas apart: one by the header, or none and no page of its own
    for each, and sessions that find what they sent before."""
    sent = [record for record in records if record.sent_at_s is not None]
    sent.sort(key=lambda record: record.sent_at_s or 0.0)
    if _names_answers(sent):
        sent = [replace(record, replica=None) for record in sent]
    by_header, by_page = _by_header(sent), _by_page(sent, readings)
    named = any(record.replica is not None for record in sent)
    found = _losses(sent, named, by_header, by_page)
    if len(by_header) > 1 or by_page:
        return found
    return found if not named and found.cold * 10 >= max(found.continuing, 1) else None


def _names_answers(sent: Sequence[TurnRecord]) -> bool:
    """Whether the header is another word for nearly each answer, and so of no replica."""
    said = [record.replica for record in sent if record.replica is not None]
    return len(set(said)) > LEAST_NAMES and 2 * len(set(said)) > len(said)


def _by_header(sent: Sequence[TurnRecord]) -> tuple[Replica, ...]:
    names = sorted({record.replica for record in sent if record.replica is not None})
    return tuple(_replica(name, [r for r in sent if r.replica == name]) for name in names)


def _replica(name: str, turns: Sequence[TurnRecord]) -> Replica:
    counted = [turn for turn in turns if turn.prompt_tokens is not None]
    prompt = sum(turn.prompt_tokens or 0 for turn in counted)
    told = any(turn.cached_tokens is not None for turn in counted)
    cached = sum(turn.cached_tokens or 0 for turn in counted)
    share = cached / prompt if told and prompt else None
    return Replica(name=name, turns=len(counted), prompt_tokens=prompt, hit_share=share)


def _by_page(sent: Sequence[TurnRecord], readings: Sequence[Reading]) -> tuple[Replica, ...]:
    """Of two pages or more that all count requests and prompt tokens over the whole run."""
    urls = list(dict.fromkeys(reading.url for reading in readings))
    if len(urls) < 2 or not sent:
        return ()
    from_s = min(record.sent_at_s or 0.0 for record in sent)
    to_s = max(record.ended_at_s for record in sent)
    found = []
    for url in urls:
        grown = growth([reading for reading in readings if reading.url == url], from_s, to_s)
        requests, prompt = grown.values.get("requests"), grown.values.get("prompt_tokens")
        if requests is None or prompt is None or grown.gap:
            return ()
        cached = grown.values.get("cached_tokens")
        share = cached / prompt if cached is not None and prompt else None
        found.append(
            Replica(name=url, turns=round(requests), prompt_tokens=prompt, hit_share=share)
        )
    return tuple(found)


def _losses(
    sent: Sequence[TurnRecord],
    named: bool,
    by_header: tuple[Replica, ...],
    by_page: tuple[Replica, ...],
) -> Routing:
    counted = [r for r in sent if r.prompt_tokens is not None and r.outcome in ("ok", "withheld")]
    told = any(record.cached_tokens is not None for record in counted)
    starts = [r.ideal_cached_tokens for r in counted if r.kind in FROM_NOTHING]
    shared_tokens = min(starts, default=0)
    before: dict[str, TurnRecord] = {}
    several: set[str] = set()
    moved_sessions: set[str] = set()
    continuing = cold = moved = cold_moved = refilled = 0
    for record in counted if told else ():
        previous = before.get(record.session)
        before[record.session] = record
        if previous is None:
            continue
        several.add(record.session)
        goes = named and record.replica != previous.replica
        if goes:
            moved_sessions.add(record.session)
        if record.kind in FROM_NOTHING:
            continue
        continuing += 1
        moved += goes
        missed = max(0, record.ideal_cached_tokens - (record.cached_tokens or 0))
        if 2 * missed > record.ideal_cached_tokens - shared_tokens:
            cold += 1
            cold_moved += goes
        if goes or not named:
            refilled += missed
    return Routing(
        source=HEADER if named else CACHED,
        by_header=by_header if len(by_header) > 1 else (),
        by_page=by_page,
        continuing=continuing,
        cold=cold,
        moved=moved if named else None,
        cold_moved=cold_moved if named else None,
        refilled_tokens=refilled,
        prompt_tokens=sum(record.prompt_tokens or 0 for record in counted),
        sessions=len(several),
        sessions_moved=len(moved_sessions) if named else None,
        policy=guess(map(_served, (r for r in sent if r.replica is not None))),
    )


def _served(record: TurnRecord) -> Served:
    assert record.sent_at_s is not None and record.replica is not None
    return Served(
        session=record.session,
        from_nothing=record.kind in FROM_NOTHING,
        sent_at_s=record.sent_at_s,
        ended_at_s=record.ended_at_s,
        replica=record.replica,
    )

"""Offline mode: one engine and its developers in virtual time, without HTTP, as fast as it goes.

    run = offline.run(PRESETS["trtllm-like"], profile, Load(levels_tpm=(2.5e6,)), seed=1)
    run.figures(0).ttft_p50_s

The engine core is the server's, sessions and tickets are those of the real traffic. Nothing here
is measured: every number is simulated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tokenswarm.engine.core.fleet import Fleet
from tokenswarm.engine.core.kv_cache import BLOCK_TOKENS
from tokenswarm.engine.offline.traffic import NEVER, History, OpenTraffic, SimulatedTurn, Traffic
from tokenswarm.engine.physics.presets import Preset
from tokenswarm.measure.quantiles import censored_quantiles, quantile
from tokenswarm.measure.window import WARM_UP_SHARE
from workload.source import Source, mean_prompt_tokens

CONTEXT_TOKENS = 262_144  # the server's default
SECONDS_PER_MINUTE = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of an engine, in virtual seconds. Either levels of input tokens per minute
    (open mode), each for `hold_s` and reached after `ramp_s`, or a number of developers who follow
    their own pauses for `hold_s` (closed mode). At the end nothing more is sent, and turns under
    way have `drain_s` to end. Defaults are those of locustfiles/tpm_ladder.py, but for the hold.
    """

    levels_tpm: tuple[float, ...] = ()
    developers: int | None = None
    hold_s: float = 1_500.0  # 25 minutes: about 500 turns after the warm-up at 2.5M TPM
    ramp_s: float = 120.0
    drain_s: float = 600.0
    max_developers: int = 300
    arrival_cv: float = 0.0
    history: History = "scripted"
    text: bool = False  # prompts as long as their text is, to half a line, as over HTTP
    context_tokens: int = CONTEXT_TOKENS  # prompt and output together; the pool may hold less

    def __post_init__(self) -> None:
        if self.text and self.history != "scripted":
            raise ValueError("text is that of scripted histories")
        if bool(self.levels_tpm) == (self.developers is not None):
            raise ValueError("a load is either levels_tpm or developers")

    @property
    def end_s(self) -> float:
        return max(1, len(self.levels_tpm)) * self.hold_s

    @property
    def cut_s(self) -> float:
        """When turns that are still under way are cut off."""
        return self.end_s + self.drain_s

    def window(self, level: int) -> tuple[float, float]:
        """Seconds from the end of the level's warm-up to its own end."""
        start_s = level * self.hold_s
        return start_s + WARM_UP_SHARE * self.hold_s, start_s + self.hold_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What one level adds up to. SIMULATED. The definitions are those of measure.tally.Summary:
    what was asked and how long it took by turns *scheduled* in the window, what was achieved by
    turns *answered* in it. Shares are 0 to 1, None is unknown. A TTFT is inf where that percentile
    was cut off: it is longer than every wait (Summary says None and how long)."""

    offered_tpm: float
    achieved_tpm: float
    turns: int
    failed: int
    unfinished: int
    without_first_token: int  # of the unfinished: their TTFT is censored
    ttft_p50_s: float | None
    ttft_p90_s: float | None
    tps_p50: float | None  # decode speed per user
    prompt_mean_tokens: float | None
    new_mean_tokens: float | None  # prompt less ideal cached part
    hit_share: float | None
    ideal_hit_share: float | None


@dataclass(frozen=True, slots=True)
class SimulatedRun:
    """A finished run: every turn, in the order of sending, and the engines as they stand."""

    load: Load
    source: Source
    turns: list[SimulatedTurn]
    unsent_at_s: list[float]  # due times of tickets that no developer took
    fleet: Fleet

    def figures(self, level: int) -> Figures:
        """The level's figures, its warm-up left out."""
        start_s, end_s = self.load.window(level)
        minutes = (end_s - start_s) / SECONDS_PER_MINUTE
        asked = [t for t in self.turns if start_s <= t.scheduled_at_s < end_s]
        unsent = sum(start_s <= at_s < end_s for at_s in self.unsent_at_s)
        answered = [
            t
            for t in self.turns
            if t.ended_at_s is not None
            and start_s <= t.ended_at_s < end_s
            and t.outcome in ("ok", "cancelled")
        ]
        counted = [t for t in answered if t.outcome == "ok"]  # usage comes with the answer's end
        alive = [t for t in asked if t.outcome in ("ok", "cancelled", "unfinished")]
        unfinished = [t for t in asked if t.outcome == "unfinished"]
        unsent_tokens = unsent * round(mean_prompt_tokens(self.source))
        ttft_p50_s, ttft_p90_s = _ttft_quantiles(alive, self.load.cut_s, (0.5, 0.9))
        return Figures(
            offered_tpm=(sum(t.prompt_tokens for t in asked) + unsent_tokens) / minutes,
            achieved_tpm=sum(t.prompt_tokens for t in answered) / minutes,
            turns=len(asked) + unsent,
            failed=len(asked) - len(alive),
            unfinished=len(unfinished) + unsent,
            without_first_token=sum(t.ttft_s is None for t in unfinished) + unsent,
            ttft_p50_s=ttft_p50_s,
            ttft_p90_s=ttft_p90_s,
            tps_p50=quantile([tps for t in alive if (tps := t.decode_tps) is not None], 0.5),
            prompt_mean_tokens=_mean(t.prompt_tokens for t in asked),
            new_mean_tokens=_mean(t.prompt_tokens - t.ideal_cached_tokens for t in asked),
            hit_share=_share(
                sum(t.cached_tokens or 0 for t in counted), sum(t.prompt_tokens for t in counted)
            ),
            ideal_hit_share=_share(
                sum(t.ideal_cached_tokens for t in answered),
                sum(t.prompt_tokens for t in answered),
            ),
        )


def run(preset: Preset, source: Source, load: Load, seed: int) -> SimulatedRun:
    """One run of one seed. The same arguments give the same turns."""
    fleet = preset.fleet(seed)
    pool_tokens = preset.kv_tokens // BLOCK_TOKENS * BLOCK_TOKENS
    context_tokens = min(load.context_tokens, pool_tokens)
    traffic: Traffic
    if load.developers is not None:
        traffic = Traffic(
            fleet,
            source,
            seed,
            context_tokens=context_tokens,
            history=load.history,
            text=load.text,
        )
        traffic.begin(load.developers)
    else:
        traffic = _open_traffic(fleet, source, load, seed, context_tokens)
    traffic.at(load.end_s, traffic.rest)
    _drive(fleet, traffic, load)
    return SimulatedRun(load, source, traffic.turns, traffic.unsent_at_s, fleet)


def _open_traffic(
    fleet: Fleet, source: Source, load: Load, seed: int, context_tokens: int
) -> OpenTraffic:
    traffic = OpenTraffic(
        fleet,
        source,
        seed,
        context_tokens=context_tokens,
        history=load.history,
        text=load.text,
        arrival_cv=load.arrival_cv,
    )
    traffic.begin(load.max_developers)
    ramp_s = min(load.ramp_s, WARM_UP_SHARE * load.hold_s)
    for level, tpm in enumerate(load.levels_tpm):
        traffic.at(level * load.hold_s, partial(traffic.set_tpm, tpm, ramp_s))
    return traffic


def _drive(fleet: Fleet, traffic: Traffic, load: Load) -> None:
    """Arrivals and steps in order of time, until all turns have ended or the drain is over."""
    reached_s = 0.0
    while True:
        step_s = fleet.next_time(reached_s)
        event_s = traffic.next_s()
        if step_s is None:
            step_s = NEVER
            if event_s > load.end_s and not traffic.in_flight:
                return
        if min(event_s, step_s) > load.cut_s:
            return
        if event_s <= step_s:
            traffic.advance()
        else:
            reached_s, emissions = fleet.step(step_s)
            traffic.answer(emissions, reached_s)


def _ttft_quantiles(
    turns: Sequence[SimulatedTurn], cut_s: float, qs: Sequence[float]
) -> list[float | None]:
    """Of turns that did not fail. One that was cut off before its first token counts as longer than
    its wait; a cancelled one had a token. inf beyond every wait, None without a turn."""
    seen = [(t.ttft_s, cut_s - t.sent_at_s) for t in turns]
    if not seen:
        return [None] * len(qs)
    values = np.array([wait_s if ttft_s is None else ttft_s for ttft_s, wait_s in seen])
    censored = np.array([ttft_s is None for ttft_s, _ in seen])
    return [float(value) for value in censored_quantiles(values, censored, qs)]


def _mean(samples: Iterable[int]) -> float | None:
    known = list(samples)
    return sum(known) / len(known) if known else None


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None

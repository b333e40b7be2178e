"""Sample: the turns of a run, ready to have statistics estimated level by level."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

import numpy as np

from tokenswarm.measure.columns import Codes, Columns, Flags, Floats
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import TIMINGS, Slo, meets
from tokenswarm.measure.tally import SECONDS_PER_MINUTE, summary
from tokenswarm.report.analysis.resample import (
    SEED,
    Clusters,
    Estimate,
    blocks,
    present,
    quantiles,
    ratio,
)
from tokenswarm.report.analysis.steps import Step

# Batches of a window: 10 to 30 (Schmeiser 1982); even, so that halves are made of whole blocks.
BLOCKS = 16
SHOWN = (10, 50, 90, 95, 99)  # percentiles that tables and curves ask for: drawn in one go
SESSIONS_DRAWN, BLOCKS_DRAWN = 0, 1  # places in the replicates of an Estimate


class RunSample:
    """A run: its sessions are drawn once for all levels, since a session may last through two."""

    def __init__(
        self, ledger: Ledger, sessions: Clusters | None = None, columns: Columns | None = None
    ) -> None:
        """sessions: drawn together with those of another run, for a paired comparison; columns:
        of the ledger's records, where they are there already."""
        self.columns = columns or Columns.of(ledger.records)
        self.sessions = sessions or Clusters.drawn(
            self.columns.session, len(self.columns.sessions), np.random.default_rng(SEED)
        )
        self.timing = cache(self._timing)

    def _timing(self, metric: str) -> tuple[Floats, Flags]:
        """A timing of every turn, NaN where unknown, and where it is only a lower bound."""
        timing = TIMINGS[metric]
        values = timing.turns(self.columns)
        if timing.waits is None:
            return values, np.zeros(len(values), dtype=bool)
        waits = timing.waits(self.columns)
        lost = ~np.isnan(waits)
        return np.where(lost, waits, values), lost


def drawn_together(ledgers: Sequence[Ledger]) -> list[RunSample]:
    """Runs whose sessions are paired by name: one that is drawn is drawn in all of them, so what
    they share cancels in differences."""
    names: dict[str, int] = {}
    codes = np.array(
        [names.setdefault(r.session, len(names)) for ledger in ledgers for r in ledger.records],
        dtype=np.int64,
    )
    together = Clusters.drawn(codes, len(names), np.random.default_rng(SEED))
    cuts = np.cumsum([len(ledger.records) for ledger in ledgers])[:-1]
    parts = np.split(together.codes, cuts)
    return [
        RunSample(ledger, Clusters(part, together.weights))
        for ledger, part in zip(ledgers, parts, strict=True)
    ]


class LevelSample:
    """The turns of one level, with blocks of time of its own.

    steps: one, or the same level in each round of an alternation. Estimates have two ways of
    drawing: sessions, blocks of time.
    """

    def __init__(self, run: RunSample, *steps: Step) -> None:
        self.run = run
        self.level = steps[0].level
        self.windows = [step.window for step in steps]
        self.scheduled = np.concatenate([run.columns.scheduled_in(w) for w in self.windows])
        self.answered = np.concatenate([run.columns.answered_in(w) for w in self.windows])
        self.summary = steps[0].summary if len(steps) == 1 else summary(run.columns, self.windows)
        rng = np.random.default_rng((SEED, self.level.index))
        count = BLOCKS * len(steps)
        self._blocks = Clusters.drawn(np.empty(0, dtype=np.int64), count, rng)
        self._timings: dict[str, dict[int, Estimate]] = {}

    def timing(self, metric: str, percents: Sequence[int]) -> list[Estimate]:
        """Percentiles of a timing of measure.slo, over the turns scheduled in the window."""
        known = self._timings.setdefault(metric, {})
        more = {*percents, *(() if known else SHOWN)} - known.keys()
        if more:
            ordered = sorted(more)
            known |= zip(ordered, self.timing_of(self.scheduled, metric, ordered), strict=True)
        return [known[percent] for percent in percents]

    def timing_of(self, rows: Codes, metric: str, percents: Sequence[int]) -> list[Estimate]:
        values, lost = self.run.timing(metric)
        rows = rows[~np.isnan(values[rows])]
        shares = [percent / 100 for percent in percents]
        drawn = []
        for codes, clusters in self._ways(rows, self.run.columns.scheduled_at_s):
            estimates, found = quantiles(values[rows], lost[rows], codes, clusters, shares)
            drawn.append((found, present(codes)))
        return [
            Estimate(
                float(estimates[column]),
                tuple(found[:, column] for found, _ in drawn),
                tuple(held for _, held in drawn),
            )
            for column in range(len(shares))
        ]

    @cached_property
    def offered_tpm(self) -> Estimate:
        return self._tpm(self.scheduled, self.run.columns.scheduled_at_s)

    @cached_property
    def achieved_tpm(self) -> Estimate:
        return self._tpm(self.answered, self.run.columns.ended_at_s)

    @cached_property
    def backlog_share(self) -> Estimate:
        """1 - prompt tokens of turns that ended in the window, in any way, / of those scheduled."""
        columns = self.run.columns
        over = columns.answered | columns.failed
        ended = np.flatnonzero(over & (self.block_codes(columns.ended_at_s) >= 0))
        rows = np.concatenate([ended, self.scheduled])
        at_s = np.concatenate([columns.ended_at_s[ended], columns.scheduled_at_s[self.scheduled]])
        is_end = np.arange(len(rows)) < len(ended)
        tokens = columns.prompt_tokens[rows]
        codes = self.block_codes(at_s)
        share, found = ratio(
            np.where(is_end, tokens, 0.0), np.where(is_end, 0.0, tokens), codes, self._blocks
        )
        return Estimate(1 - share, (1 - found,), (present(codes),))

    def failure_share(self) -> Estimate:
        columns = self.run.columns
        over = columns.answered | columns.failed
        rows = self.scheduled[over[self.scheduled]]
        return self._ratio(
            rows, columns.scheduled_at_s, columns.failed[rows].astype(float), np.ones(len(rows))
        )

    def hit_share(self) -> Estimate:
        columns = self.run.columns
        rows = self.answered[~np.isnan(columns.cached_tokens[self.answered])]
        return self._ratio(
            rows, columns.ended_at_s, columns.cached_tokens[rows], columns.prompt_tokens[rows]
        )

    def goodput(self, slos: Sequence[Slo]) -> Estimate:
        good = meets(self.run.columns, self.scheduled, slos)
        if good is None:
            return Estimate(np.nan, (), ())
        return self._ratio(
            self.scheduled,
            self.run.columns.scheduled_at_s,
            good.astype(np.float64),
            np.ones(len(good)),
        )

    def metric(self, name: str, percent: int | None) -> Estimate:
        """By its name in tokenswarm.measure.slo: a percentile of a timing, or a total."""
        if percent is not None:
            return self.timing(name, [percent])[0]
        if name == "tpm":
            return self.achieved_tpm
        return self.failure_share() if name == "failures" else self.hit_share()

    def halves(self) -> tuple[Codes, Codes]:
        """Turns scheduled in the first and in the second half of a window."""
        codes = self.block_codes(self.run.columns.scheduled_at_s[self.scheduled])
        early = codes % BLOCKS < BLOCKS / 2
        return self.scheduled[early], self.scheduled[~early]

    def _ways(self, rows: Codes, at_s: Floats) -> list[tuple[Codes, Clusters]]:
        run = self.run
        return [
            (run.sessions.codes[rows], run.sessions),
            (self.block_codes(at_s[rows]), self._blocks),
        ]

    def block_codes(self, at_s: Floats) -> Codes:
        """The block of time that each moment lies in, BLOCKS of them in each window; -1 outside."""
        codes = np.full(len(at_s), -1, dtype=np.int64)
        for place, window in enumerate(self.windows):
            within = blocks(at_s, window, BLOCKS)
            codes = np.where(within < 0, codes, place * BLOCKS + within)
        return codes

    def _ratio(self, rows: Codes, at_s: Floats, over: Floats, under: Floats) -> Estimate:
        found = [
            (ratio(over, under, codes, clusters), present(codes))
            for codes, clusters in self._ways(rows, at_s)
        ]
        return Estimate(
            found[0][0][0],
            tuple(replicates for (_, replicates), _ in found),
            tuple(held for _, held in found),
        )

    def _tpm(self, rows: Codes, at_s: Floats) -> Estimate:
        """By blocks alone: how much is asked for in a minute does not hang on who asks."""
        length_s = sum(end_s - start_s for start_s, end_s in self.windows)
        if length_s <= 0:
            return Estimate(np.nan, (), ())
        tokens = self.run.columns.prompt_tokens[rows]
        codes = self.block_codes(at_s[rows])
        count = self._blocks.weights.shape[1]
        asked = np.bincount(codes, tokens, minlength=count) * SECONDS_PER_MINUTE
        drawn = self._blocks.weights.astype(np.float64) @ asked
        return Estimate(float(asked.sum() / length_s), (drawn / length_s,), (count,))

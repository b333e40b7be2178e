"""The histograms of a run: how long turns took, how large they were, how well they were seen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exporters.prometheus.buckets import Histogram, grid
from tokenswarm.measure.record import Level, TurnRecord
from tokenswarm.measure.tally import prompt_tokens

# Quantiles of these are read off, so 5% is the most that they may be off by.
FINE = 1.05
TIMES_S = grid(0.0095, 600.0, FINE)  # 10 ms, above the first bound, to 10 min
SPEEDS_TPS = grid(0.5, 2000.0, FINE)  # 2 s to 0.5 ms a token
TPOT_S = grid(0.0005, 2.0, FINE)
# These tell how something is spread.
COARSE = 1.5
GAPS_S = grid(0.0005, 60.0, COARSE)
LATENESS_S = grid(0.0005, 600.0, COARSE)
STAMP_LAG_S = grid(0.00001, 10.0, COARSE)
SIZES_TOKENS = grid(10, 1e6, COARSE)

# The page holds so many levels, so that the number of series has a bound; Prometheus keeps more.
LEVELS_KEPT = 4
NO_LEVEL = "none"
# What every profile sends.
USUAL_KINDS = ("start", "tool", "user")


class RunHistograms:
    """Takes in turns that were sent, and levels. docs/metrics.md says what each histogram holds."""

    def __init__(self, labels: Mapping[str, str], *, by_level: bool) -> None:
        """labels: of every series; by_level: whether two of them are split by level."""
        self._labels = labels
        self._by_level = by_level
        self._newest = 0  # level
        self._make()
        if not by_level:
            self._begin()

    def level(self, level: Level) -> None:
        """A level begins: its series, and the end of those of an old one."""
        self._newest = level.index
        if self._by_level:
            self._begin(str(level.index))
            self._ttft.keep(lambda values: self._is_kept(values[0]))
            self._decode_tps.keep(lambda values: self._is_kept(values[0]))

    def turn(self, record: TurnRecord) -> None:
        if not record.failed:
            self._time(record)
        if record.sent_at_s is not None:
            self._see(record)

    def texts(self) -> Iterable[str]:
        """In Prometheus' format, a piece for each label set."""
        for histogram in self._histograms:
            yield from histogram.texts()

    def _begin(self, *level: str) -> None:
        """At 0, so that the first `rate` loses nothing."""
        for kind in USUAL_KINDS:
            self._ttft.at(*level, kind)
        self._decode_tps.at(*level)

    def _is_kept(self, level: str) -> bool:
        return level == NO_LEVEL or int(level) > self._newest - LEVELS_KEPT

    def _level_of(self, record: TurnRecord) -> tuple[str, ...]:
        if not self._by_level:
            return ()
        level = NO_LEVEL if record.level is None else str(record.level)
        return (level if self._is_kept(level) else NO_LEVEL,)

    def _time(self, record: TurnRecord) -> None:
        """How long a turn took that did not fail."""
        level = self._level_of(record)
        if (ttft_s := record.ttft_s) is not None:
            self._ttft.at(*level, record.kind).observe(ttft_s)
        self._visible_ttft.observe(record.visible_ttft_s)
        self._ttft_from_schedule.observe(record.ttft_from_schedule_s)
        if (tps := record.decode_tps) is not None:
            self._decode_tps.at(*level).observe(tps)
            self._tpot.observe(1 / tps)
        self._gaps.observe_all(record.chunk_gaps_s)
        if record.outcome == "ok":
            self._e2e.observe(record.e2e_s)
            self._output.observe(record.output_tokens)

    def _see(self, record: TurnRecord) -> None:
        """How large a turn was, and how well it was sent and seen."""
        self._prompt.observe(prompt_tokens(record))
        self._lateness.observe(record.lateness_s)
        self._generator_lateness.observe(record.generator_lateness_s)
        if record.stamps == "kernel":
            self._stamp_lag.observe(record.stamp_lag_s)

    def _make(self) -> None:
        def histogram(name: str, what: str, bounds: tuple[float, ...], *own: str) -> Histogram:
            made = Histogram(f"tokenswarm_{name}", what, bounds, self._labels, own)
            self._histograms.append(made)
            return made

        level = ("level",) if self._by_level else ()
        self._histograms: list[Histogram] = []
        self._ttft = histogram(
            "ttft_seconds", "First byte sent to first output", TIMES_S, *level, "kind"
        )
        self._decode_tps = histogram(
            "decode_tokens_per_second", "Decode speed of one user", SPEEDS_TPS, *level
        )
        self._visible_ttft = histogram(
            "visible_ttft_seconds", "First byte sent to first visible output", TIMES_S
        ).at()
        self._ttft_from_schedule = histogram(
            "ttft_from_schedule_seconds", "Due time to first output", TIMES_S
        ).at()
        self._e2e = histogram(
            "e2e_seconds", "First byte sent to the end of the answer, ok turns", TIMES_S
        ).at()
        self._tpot = histogram("tpot_seconds", "Time per output token after the first", TPOT_S).at()
        self._gaps = histogram("chunk_gap_seconds", "Raw gaps between output chunks", GAPS_S).at()
        self._prompt = histogram(
            "turn_prompt_tokens", "Prompt tokens of turns sent", SIZES_TOKENS
        ).at()
        self._output = histogram(
            "turn_output_tokens", "Output tokens of ok turns", SIZES_TOKENS
        ).at()
        self._lateness = histogram(
            "lateness_seconds", "Due time to first byte sent", LATENESS_S
        ).at()
        self._generator_lateness = histogram(
            "generator_lateness_seconds", "Due and a developer free to first byte sent", LATENESS_S
        ).at()
        self._stamp_lag = histogram(
            "stamp_lag_seconds", "Clock less kernel stamp, the largest of a turn", STAMP_LAG_S
        ).at()

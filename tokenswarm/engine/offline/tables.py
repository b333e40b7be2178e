"""Tables of simulated results: each says SIMULATED, the presets, the profile and the seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import isinf

from tabulate import tabulate

from tokenswarm.engine.offline.estimate import Estimate
from tokenswarm.engine.offline.study import PUBLISHED, TPM, TPS_REFERENCE
from tokenswarm.engine.offline.sweep import Point
from tokenswarm.measure.window import KEPT_UP_SHARE, WARM_UP_SHARE

# Below a curve: what its levels leave out of a real ladder.
EVERY_LEVEL_IS_COLD = (
    "Every level is a run of its own and starts with an empty cache. Near the knee a short --hold "
    "reads\nhigh: the cold prompts of its beginning are still in the queue."
)
UNKNOWN = "-"
CUT_OFF = "cut off"
MILLION = 1e6


def heading(points: Sequence[Point]) -> str:
    """What was simulated, and how: two lines above every table and in every file."""
    names = ", ".join(dict.fromkeys(point.case.preset.engine_name for point in points))
    first = points[0]
    source, load, seeds = first.case.source, first.case.load, first.seeds
    return (
        f"SIMULATED by {names} (embedded engine, offline, engine seconds)\n"
        f"profile {source.name} ({source.fingerprint()}), seeds {seeds[0]} to {seeds[-1]}, "
        f"{load.hold_s / 60:g} min each, the first {WARM_UP_SHARE:.0%} left out"
    )


def footing(points: Sequence[Point]) -> str:
    """What the columns mean, and the number that matters most."""
    new = [e for point in points if (e := point.estimate("new_mean_tokens")) is not None]
    low, high = (min(e.value for e in new), max(e.value for e in new)) if new else (None, None)
    tokens = UNKNOWN if low is None else f"{low:,.0f} to {high:,.0f}"
    return (
        "Medians over seeds; [ ]: interval of the median, 95 % over seeds. TTFT: s, p50 of each "
        "run.\nTPS: tokens per second and user, p50. kept up: seeds in which at least "
        f"{KEPT_UP_SHARE:.0%} of what was offered was achieved.\n"
        f"{CUT_OFF}: the run ended before so many turns had a first token.\n"
        f"New tokens per turn, the most influential number: mean {tokens}."
    )


def curve_table(points: Sequence[Point]) -> str:
    """One row for each preset and level."""
    head = ("engine", "asked", "achieved", "TTFT p50", "p90", "TPS", "hit (ideal)", "kept up")
    rows = [
        (
            point.case.label,
            _asked(point),
            _millions(point.estimate("achieved_tpm")),
            _interval(point.estimate("ttft_p50_s")),
            _number(point.estimate("ttft_p90_s")),
            _interval(point.estimate("tps_p50")),
            _hits(point),
            f"{point.kept_up}/{len(point.seeds)}",
        )
        for point in points
    ]
    return _table(head, rows)


def compare_table(points: Sequence[Point]) -> str:
    """The study's table beside what its presets do at one rate."""
    by_name = {point.case.preset.name: point for point in points}
    base = by_name.get(TPS_REFERENCE)
    head = (
        *("engine", "GPUs", "achieved", "per GPU", "kept up", "TTFT p50", "study"),
        *("TPS", f"of {TPS_REFERENCE}", "study", "hit"),
    )
    rows = []
    for point in points:
        preset = point.case.preset
        achieved = point.estimate("achieved_tpm")
        published = PUBLISHED.get(preset.name)
        at_study = published if point.case.load.levels_tpm == (TPM,) else None
        rows.append(
            (
                preset.engine_name,
                preset.all_gpus,
                _millions(achieved),
                UNKNOWN if achieved is None else f"{achieved.value / preset.all_gpus / 1e3:.0f}k",
                f"{point.kept_up}/{len(point.seeds)}",
                _interval(point.estimate("ttft_p50_s")),
                _known(at_study and at_study.ttft_p50_s),
                _interval(point.estimate("tps_p50")),
                UNKNOWN if base is None else _interval(point.ratio(base, "tps_p50")),
                _known(at_study and at_study.tps_ratio),
                _hits(point),
            )
        )
    return _table(head, rows)


def what_if_table(base: Point, changes: Sequence[Point]) -> str:
    """The baseline, then each change alone, as ratios to it seed by seed."""
    head = (
        *("what if", "achieved", "TTFT p50", "of baseline", "TPS", "of baseline"),
        *("hit (ideal)", "kept up"),
    )
    rows = [
        (
            point.case.label,
            _millions(point.estimate("achieved_tpm")),
            _number(point.estimate("ttft_p50_s")),
            UNKNOWN if point is base else _interval(point.ratio(base, "ttft_p50_s")),
            _number(point.estimate("tps_p50")),
            UNKNOWN if point is base else _interval(point.ratio(base, "tps_p50")),
            _hits(point),
            f"{point.kept_up}/{len(point.seeds)}",
        )
        for point in (base, *changes)
    ]
    return _table(head, rows)


def habit_table(
    base: Point, habits: Sequence[Point], day_usd: Callable[[Point], float | None]
) -> str:
    """The sessions as they are, then with each habit, as ratios to them seed by seed. day_usd: what
    the input of a developer's day costs."""
    head = (
        *("habit", "hit (ideal)", "prefilled again", "TTFT p50", "of the first", "achieved"),
        *("of the first", "more a day"),
    )
    first_usd = day_usd(base)
    rows = []
    for point in (base, *habits):
        usd = day_usd(point)
        more_usd = None if usd is None or first_usd is None else usd - first_usd
        rows.append(
            (
                point.case.label,
                _hits(point),
                _digits_of(_missed_tokens(point)),
                _number(point.estimate("ttft_p50_s")),
                UNKNOWN if point is base else _interval(point.ratio(base, "ttft_p50_s")),
                _millions(point.estimate("achieved_tpm")),
                UNKNOWN if point is base else _interval(point.ratio(base, "achieved_tpm")),
                UNKNOWN if more_usd is None or point is base else _dollars(more_usd),
            )
        )
    return _table(head, rows)


def _missed_tokens(point: Point) -> float | None:
    """Tokens of a mean prompt that the cache did not hold."""
    prompt, hit = point.estimate("prompt_mean_tokens"), point.estimate("hit_share")
    return None if prompt is None or hit is None else prompt.value * (1 - hit.value)


def _dollars(usd: float) -> str:
    return f"{'-' if usd < 0 else ''}${abs(usd):,.0f}"


def _digits_of(tokens: float | None) -> str:
    return UNKNOWN if tokens is None else f"{tokens:,.0f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    align = ("left", *("right",) * (len(head) - 1))
    return tabulate(rows, head, tablefmt="simple", colalign=align, disable_numparse=True)


def _asked(point: Point) -> str:
    load = point.case.load
    if load.developers is not None:
        return f"{load.developers} devs"
    return f"{load.levels_tpm[-1] / MILLION:.2f}M"


def _millions(estimate: Estimate | None) -> str:
    return UNKNOWN if estimate is None else f"{estimate.value / MILLION:.2f}M"


def _number(estimate: Estimate | None) -> str:
    return UNKNOWN if estimate is None else _digits(estimate.value)


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return UNKNOWN
    if estimate.low is None or estimate.high is None:
        return _digits(estimate.value)
    low, high = _digits(estimate.low), _digits(estimate.high)
    return f"{_digits(estimate.value)} [{low}, {high}]"


def _digits(value: float) -> str:
    if isinf(value):
        return CUT_OFF
    if value < 9.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def _known(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:g}"


def _hits(point: Point) -> str:
    hit, ideal = point.estimate("hit_share"), point.estimate("ideal_hit_share")
    if hit is None or ideal is None:
        return UNKNOWN
    return f"{hit.value:.0%} ({ideal.value:.0%})"

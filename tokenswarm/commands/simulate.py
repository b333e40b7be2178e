"""The offline commands of `tokenswarm simulate`: curve, compare, whatif. Virtual time, no HTTP."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import orjson

from tokenswarm.engine.core.router import ROUTINGS
from tokenswarm.engine.offline import tables
from tokenswarm.engine.offline.run import CONTEXT_TOKENS, Load
from tokenswarm.engine.offline.study import PUBLISHED, TPM
from tokenswarm.engine.offline.sweep import Case, Point, sweep
from tokenswarm.engine.offline.traffic import History
from tokenswarm.engine.offline.what_if_text import changed, described
from tokenswarm.engine.physics.presets import DEFAULT_PRESET, PRESETS, Preset
from tokenswarm.measure.amounts import OptionError, parse_duration, parse_tokens, parse_tpm
from tokenswarm.measure.window import WARM_UP_SHARE
from tokenswarm.report.analysis.bill import Price
from tokenswarm.report.analysis.prices import read_prices
from tokenswarm.shell.options.trace import (
    TRACE_OPTIONS,
    require_free_pace,
    trace_path,
    trace_timing,
)
from workload.habits import HABITS, require_habits
from workload.profiles import PROFILES
from workload.source import Habitual, Source, load_source
from workload.whole_file import replace_file

_PRICED_MODEL = "claude-opus-4-6"
_DAY_HOURS = 8
PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
_MOST_POINTS = 200  # guess: of a range; more is a typing error
NOTE = (
    "Everything printed is simulated. Presets are illustrative fits (docs/engine.md), no "
    "measurements of the products they are named after."
)


def main(arguments: Sequence[str]) -> int:
    """Runs the command that the first argument names. Raises ValueError or OSError."""
    options = parser().parse_args(arguments)
    _check_files(options)
    return int(options.run(options))


def _curve(options: argparse.Namespace) -> int:
    """TTFT, TPS and achieved TPM of each preset while the load rises."""
    source = _source(options)
    cases = [
        _with_changes(Case(label=name, preset=preset, source=source, load=load), options)
        for name, preset in _presets(options)
        for load in _loads(options)
    ]
    points = _simulate(cases, options)
    _print(points, tables.curve_table(points), tables.EVERY_LEVEL_IS_COLD)
    _write_json(options, points)
    if options.plot is not None:
        from tokenswarm.engine.offline.picture import (
            draw_curve,  # matplotlib takes a second to import
        )

        draw_curve(points, options.plot)
        print(f"picture: {options.plot}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    """The study's table: every preset at one rate, beside the published figures."""
    source = _source(options)
    (load,) = _loads(options)
    cases = [
        Case(label=name, preset=preset, source=source, load=load)
        for name, preset in _presets(options)
    ]
    points = _simulate(cases, options)
    _print(points, tables.compare_table(points))
    for point in points:
        print(_completed(point))
    _write_json(options, points)
    return 0


def _what_if(options: argparse.Namespace) -> int:
    """A preset, and the same with each change."""
    source = _source(options)
    (load,) = _loads(options)
    (name, preset), *others = _presets(options)
    if others:
        raise OptionError(f"--preset {options.preset!r}: accepted is one preset")
    base = Case(label=name, preset=preset, source=source, load=load)
    cases = [base, *(changed(base, text) for text in options.change)]
    points = _simulate(cases, options)
    _print(points, tables.what_if_table(points[0], points[1:]))
    _write_json(options, points)
    if options.plot is not None:
        from tokenswarm.engine.offline.picture import draw_what_ifs

        draw_what_ifs(points[0], points[1:], options.plot)
        print(f"picture: {options.plot}")
    return 0


def _completed(point: Point) -> str:
    """In words whether the rate was carried."""
    achieved = point.estimate("achieved_tpm")
    carried = "-" if achieved is None else f"{achieved.value / 1e6:.2f}M"
    verb = "completes" if point.completes else "does NOT complete"
    (asked,) = point.case.load.levels_tpm
    return (
        f"{point.case.preset.engine_name} {verb} {asked / 1e6:.2f}M TPM: achieved {carried}, kept "
        f"up in {point.kept_up} of {len(point.seeds)} seeds"
    )


def _simulate(cases: Sequence[Case], options: argparse.Namespace) -> list[Point]:
    first = options.first_seed
    seeds = range(first, first + options.seeds)
    return sweep(cases, seeds, processes=options.processes, progress=not options.quiet)


def _print(points: Sequence[Point], table: str, *remarks: str) -> None:
    print(tables.heading(points), table, tables.footing(points), *remarks, NOTE, sep="\n\n")


def _write_json(options: argparse.Namespace, points: Sequence[Point]) -> None:
    if options.json is None:
        return
    document = {
        "simulated": True,
        "note": NOTE,
        "heading": tables.heading(points),
        "profile": points[0].case.source.name,
        "profile_hash": points[0].case.source.fingerprint(),
        "points": [_as_json(point) for point in points],
    }
    replace_file(options.json, orjson.dumps(document, option=orjson.OPT_INDENT_2))
    print(f"figures of every seed: {options.json}")


def _as_json(point: Point) -> dict[str, Any]:
    preset = point.case.preset
    names = point.figures[0].__dataclass_fields__
    estimates = {name: point.estimate(name) for name in names}
    return {
        "label": point.case.label,
        "engine": preset.engine_name,
        "gpus": preset.all_gpus,
        "load": asdict(point.case.load),
        "kept_up": point.kept_up,
        "median": {
            n: e and {"value": e.value, "low": e.low, "high": e.high} for n, e in estimates.items()
        },
        "seeds": [
            {"seed": s, **asdict(f)} for s, f in zip(point.seeds, point.figures, strict=True)
        ],
    }


def _with_changes(case: Case, options: argparse.Namespace) -> Case:
    if options.change is None:
        return case
    return replace(changed(case, options.change), label=f"{case.label}, {options.change}")


def _habits(options: argparse.Namespace) -> int:
    """Sessions as they are, and the same with each habit that breaks caches."""
    names = require_habits(options.habit or tuple(HABITS))
    options.habit = []
    base = _source(options)
    assert not isinstance(base, Habitual)  # it was asked for without
    (load,) = _loads(options)
    ((_, preset),) = _presets(options)
    plain = Case(label="as it is", preset=preset, source=base, load=load)
    with_habits = [replace(plain, label=n, source=Habitual(base, (n,))) for n in names]
    points = _simulate([plain, *with_habits], options)
    price = read_prices()[_PRICED_MODEL]
    _print(
        points,
        tables.habit_table(points[0], points[1:], partial(_day_usd, price, points[0])),
        f"more a day: dollars for each developer and {_DAY_HOURS} hours of the first row's turns, "
        f"at list prices of {price.model} ({price.as_of}), for input alone.",
        *(f"{n}: {HABITS[n].summary}." for n in names),
    )
    _write_json(options, points)
    return 0


def _day_usd(price: Price, base: Point, point: Point) -> float | None:
    """What the input of a developer's day costs: the base's turns, the point's prompts and hits."""
    load = base.case.load
    start_s, end_s = load.window(0)
    turns = base.estimate("turns")
    prompt, hit = point.estimate("prompt_mean_tokens"), point.estimate("hit_share")
    if turns is None or prompt is None or hit is None or load.developers is None:
        return None
    cached_usd = price.input_usd if price.cache_read_usd is None else price.cache_read_usd
    missed_usd = price.input_usd if price.cache_write_usd is None else price.cache_write_usd
    turn_usd = prompt.value * (hit.value * cached_usd + (1 - hit.value) * missed_usd) / 1e6
    return turn_usd * turns.value / load.developers * _DAY_HOURS * 3600 / (end_s - start_s)


def _source(options: argparse.Namespace) -> Source:
    """What is simulated. Raises ValueErrors that name the option."""
    trace, timing = trace_path(options), trace_timing(options)
    if trace is not None and getattr(options, "developers", None) is None:
        require_free_pace(timing, "--tpm")
    if (trace is not None or options.habit) and options.history != "scripted":
        raise OptionError(
            f"--history {options.history}: traces and habits say what is kept of prompts, not of "
            "replies; accepted with --trace and --habit: scripted"
        )
    if options.text and (trace is not None or options.habit or options.history != "scripted"):
        raise OptionError(
            "--text: accepted with --profile and scripted histories, without --trace and --habit"
        )
    return load_source(options.profile, trace, timing, options.habit)


def _presets(options: argparse.Namespace) -> list[tuple[str, Preset]]:
    """By name, with as many replicas as asked for."""
    names = [name.strip() for name in options.preset.split(",")]
    for name in names:
        if name not in PRESETS:
            raise OptionError(f"--preset {name!r}: accepted are {', '.join(PRESETS)}")
    fleet: dict[str, Any] = {"replicas": options.replicas, "routing": options.router}
    return [(name, replace(PRESETS[name], **fleet)) for name in names]


def _loads(options: argparse.Namespace) -> list[Load]:
    """One for each rate, or each number of developers."""
    hold_s = parse_duration("--hold", options.hold)
    common: dict[str, Any] = {
        "hold_s": hold_s,
        "drain_s": parse_duration("--drain", options.drain),
        "history": options.history,
        "text": options.text,
        "context_tokens": parse_tokens("--context-tokens", options.context_tokens),
    }
    developers = getattr(options, "developers", None)
    if developers is not None:
        numbers = _range("--developers", developers, _developers)
        return [Load(developers=round(number), **common) for number in numbers]
    # A level of its own begins with an empty cache, so it is climbed to for the whole warm-up.
    ramp_s = parse_duration("--ramp", options.ramp) if options.ramp else WARM_UP_SHARE * hold_s
    rates = _range("--tpm", options.tpm, parse_tpm)
    if options.command != "curve" and len(rates) > 1:
        raise OptionError(f"--tpm {options.tpm!r}: accepted is one rate, such as 2.5M")
    return [
        Load(
            levels_tpm=(rate,),
            ramp_s=ramp_s,
            max_developers=options.max_developers,
            arrival_cv=options.arrival_cv,
            **common,
        )
        for rate in rates
    ]


def _range(option: str, text: str, parse: Callable[[str, str], float]) -> list[float]:
    """The values of "1M,2M" or "0.5M:4M:0.5M" (first, last, step)."""
    parts = text.split(":")
    if len(parts) == 1:
        return [parse(option, part) for part in text.split(",")]
    if len(parts) != 3:
        raise OptionError(f"{option} {text!r}: accepted are A,B,... or FIRST:LAST:STEP")
    first, last, step = (parse(option, part) for part in parts)
    count = (last - first) / step + 1e-9
    if not 0 <= count < _MOST_POINTS:
        raise OptionError(
            f"{option} {text!r}: accepted are FIRST <= LAST and at most {_MOST_POINTS} steps"
        )
    return [first + step * k for k in range(int(count) + 1)]


def _developers(option: str, text: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise OptionError(f"{option} {text!r}: accepted are whole numbers from 1 on")
    return int(text)


def _check_files(options: argparse.Namespace) -> None:
    """Refused before an hour of simulation rather than after it."""
    for option, path in (("--plot", getattr(options, "plot", None)), ("--json", options.json)):
        if path is None:
            continue
        if not path.parent.is_dir() or path.is_dir():
            raise OptionError(f"{option} {str(path)!r}: accepted is a file in a folder that exists")
        if option == "--plot" and path.suffix.lower() not in PICTURE_SUFFIXES:
            raise OptionError(f"{option} {str(path)!r}: must end in {', '.join(PICTURE_SUFFIXES)}")


def _whole(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise argparse.ArgumentTypeError(
            f"{text!r} is not accepted; accepted: a whole number of at least {least}"
        )

    return parse


def _spread(text: str) -> float:
    try:
        cv = float(text)
    except ValueError:
        cv = -1.0
    if not 0 <= cv < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; accepted: a number from 0 on")
    return cv


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tokenswarm simulate", description=NOTE)
    commands = parser.add_subparsers(dest="command", required=True)
    published = ",".join(PUBLISHED)

    def command(name: str, run: Callable[[argparse.Namespace], int], **defaults: str) -> Any:
        summary = (run.__doc__ or "").strip()
        sub = commands.add_parser(name, help=summary, description=f"{summary} {NOTE}")
        sub.set_defaults(run=run)
        _add_common(sub, **defaults)
        return sub

    curve = command(
        "curve", _curve, preset=DEFAULT_PRESET, tpm="0.5M:4M:0.5M", seeds="12", hold="25m"
    )
    curve.add_argument(
        "--developers", metavar="NUMBERS", help="closed mode instead of --tpm: 24 or 5:40:5"
    )
    curve.add_argument("--change", metavar="CHANGES", help="of every preset; as in whatif")
    curve.add_argument("--plot", type=Path, metavar="FILE", help=", ".join(PICTURE_SUFFIXES))
    habits = command("habits", _habits, preset=DEFAULT_PRESET, tpm="1M", seeds="6", hold="40m")
    habits.add_argument(
        "--developers", default="12", metavar="N", help="who follow their own pauses (default: 12)"
    )
    rate = f"{TPM / 1e6:g}M"
    command("compare", _compare, preset=f"{published},roofline", tpm=rate, seeds="24", hold="40m")
    what_if = command("whatif", _what_if, preset=DEFAULT_PRESET, tpm=rate, seeds="24", hold="40m")
    what_if.add_argument(
        "change", nargs="+", metavar="CHANGES", help=f"NAME=VALUE, joined by commas: {described()}"
    )
    what_if.add_argument("--plot", type=Path, metavar="FILE", help=", ".join(PICTURE_SUFFIXES))
    return parser


def _add_common(
    parser: argparse.ArgumentParser, *, preset: str, tpm: str, seeds: str, hold: str
) -> None:
    add = parser.add_argument
    add("--preset", default=preset, help=f"of {', '.join(PRESETS)} (default: {preset})")
    add("--replicas", type=_whole(1), default=1, metavar="N", help="engines behind a router")
    add("--router", choices=ROUTINGS, default="round-robin", help="which replica a turn goes to")
    add("--profile", default="seed", help=f"{', '.join(PROFILES)}, or a .toml file")
    for name, settings in TRACE_OPTIONS.items():
        add(name, **settings)
    add("--tpm", default=tpm, help=f"input tokens per minute offered (default: {tpm})")
    add("--seeds", type=_whole(1), default=int(seeds), help=f"runs of each (default: {seeds})")
    add("--first-seed", type=_whole(0), default=1, metavar="N", help="the first of --seeds")
    add("--hold", default=hold, metavar="TIME", help=f"length of a run (default: {hold})")
    add("--ramp", default="", metavar="TIME", help="climb to the rate (default: the warm-up)")
    add("--drain", default="10m", metavar="TIME", help="for turns under way at the end")
    add("--max-developers", type=_whole(1), default=300, metavar="N", help="most open at once")
    add("--arrival-cv", type=_spread, default=0.0, metavar="CV", help="0 paced, 1 Poisson")
    add("--history", choices=get_args(History), default="scripted", help="replies in the history")
    add(
        "--context-tokens",
        default=str(CONTEXT_TOKENS),
        metavar="TOKENS",
        help=f"prompt and output together (default: {CONTEXT_TOKENS})",
    )
    add(
        "--text",
        action="store_true",
        help="prompts as long as their text, to half a line: turns "
        "equal those of a run with the same --seed in driven time",
    )
    add("--processes", type=_whole(1), metavar="N", help="(default: one per core)")
    add("--json", type=Path, metavar="FILE", help="figures of every seed")
    add("--quiet", action="store_true", help="no progress bar")

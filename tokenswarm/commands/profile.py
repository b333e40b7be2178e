"""tokenswarm profile: what a profile's sessions look like, against their targets.

    tokenswarm profile --profile seed --sessions 20000 --plot seed.png

Exit code: 0 all rows ok (or too few turns to say), 1 a row is off, 2 a bad option.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tabulate import tabulate

from tokenswarm.exit_codes import BAD_INPUT, FAILED, PASSED
from workload.fidelity import of_sample, simulate
from workload.figures import Row
from workload.profile import Profile, ProfileError
from workload.profiles import PROFILES, load_profile

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")


def main(arguments: list[str] | None = None) -> int:
    """Simulates, prints the table, draws the picture if asked; returns the exit code."""
    options = parser().parse_args(arguments)
    profile: Profile = options.profile
    sample = simulate(profile, options.sessions, options.seed)
    rows = of_sample(profile, sample)
    title = (
        f"profile {profile.name} ({profile.fingerprint()}): {options.sessions:,} sessions, "
        f"{len(sample.prompt_tokens):,} turns, seed {options.seed}"
    )
    print(title)
    print(table(rows))
    if options.plot is not None:
        from workload.profile_figure import draw  # matplotlib takes a second to import

        try:
            draw(profile, sample, rows, options.plot, title)
        except OSError as error:
            print(f"--plot {options.plot}: {error}", file=sys.stderr)
            return BAD_INPUT
        print(f"picture: {options.plot}")
    return FAILED if any(row.verdict == "off" for row in rows) else PASSED


def table(rows: list[Row]) -> str:
    """The rows as text."""
    head = ["quantity", "unit", "target", "from", "realised", "deviation", "tolerance", "verdict"]
    body = [
        [
            row.quantity,
            row.unit,
            _number(row.target),
            row.source,
            _number(row.realised),
            "" if row.deviation is None else f"{row.deviation:+.1%}",
            "" if row.tolerance is None else f"{row.tolerance:.1%}",
            row.verdict,
        ]
        for row in rows
    ]
    align = ("left", "left", "right", "left", "right", "right", "right", "left")
    return tabulate(body, head, tablefmt="simple", colalign=align, disable_numparse=True)


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm profile",
        description="Simulate the sessions of a profile and compare them with their targets.",
    )
    parser.add_argument(
        "--profile",
        type=_profile,
        default="seed",
        help=f"{', '.join(PROFILES)}, or a .toml file (default: seed)",
    )
    parser.add_argument(
        "--sessions", type=_sessions, default=5_000, help="sessions to simulate (default: 5000)"
    )
    parser.add_argument("--seed", type=_seed, default=1, help="0 or more (default: 1)")
    parser.add_argument(
        "--plot", type=_picture_path, metavar="FILE", help="write a picture: .png, .svg or .pdf"
    )
    return parser


def _profile(text: str) -> Profile:
    try:
        return load_profile(text)
    except ProfileError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _sessions(text: str) -> int:
    return _whole(text, 1)


def _seed(text: str) -> int:
    return _whole(text, 0)


def _whole(text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
    return int(text)


def _picture_path(text: str) -> Path:
    path = Path(text)
    if path.suffix not in PICTURE_SUFFIXES:
        raise argparse.ArgumentTypeError(f"{text!r} does not end in {', '.join(PICTURE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: there is no folder {path.parent}")
    return path

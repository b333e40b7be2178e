"""Targets take turns: A B, then B A, and so on, so that what drifts through the day cancels.

    tokenswarm turns --runs runs/ab --rounds 4 --levels 1M,2M,2.5M --hold 10m \\
        --target a=http://10.0.0.1:8000 --target 'b=http://10.0.0.2:8000 --gpus 8'

Every leg is an ordinary headless run, in RUNS/NAME/round-N. In one round all targets get the same
sessions and prompts; the next has another seed and the reverse order. Words behind an address are
Locust options of that target alone, options unknown here go to every leg. A target's key is read
from TOKENSWARM_API_KEY_<NAME>, else the usual variables.

The same command goes on where an earlier one stopped; --rounds may grow. At the end it prints what
`tokenswarm compare RUNS/A RUNS/B` does. Exit codes: 2 bad input, 130 interrupted, else the
worst of the legs' and the comparison's.
"""

from __future__ import annotations

from locust.argument_parser import get_parser

import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import orjson

import tokenswarm.shell.wiring  # noqa: F401 - its options join Locust's parser
from tokenswarm.commands import compare
from tokenswarm.commands.run import FOLDER, LOCUSTFILES
from tokenswarm.exit_codes import BAD_INPUT, FAILED, INTERRUPTED, INVALID_RUN, NOT_JUDGED, PASSED
from tokenswarm.measure.amounts import parse_tpm
from tokenswarm.shell.options import API_KEY_VARIABLES, OptionError, read_options
from workload.whole_file import replace_file

LADDER = FOLDER / LOCUSTFILES["ladder"][0]
NAME = re.compile(r"\w[\w.-]*")
STATE = "alternation.json"  # in the runs' folder: the plan, and the legs that have ended
SUMMARY = "summary.json"  # what a run writes last
OWN = ("-H", "--host", "--run-name", "--master", "--worker")  # not to be passed on
# Exit codes of a leg that ran to its end, the worst first: INVALID, failed, not judged, fine.
ENDED = (INVALID_RUN, FAILED, NOT_JUDGED, PASSED)
NOT_ENDED = FAILED
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class NamedTarget:
    name: str
    url: str
    options: tuple[str, ...]  # of this target alone

    @classmethod
    def parse(cls, text: str) -> NamedTarget:
        """Raises OptionError."""
        name, _, rest = text.partition("=")
        try:
            url, *options = shlex.split(rest) or [""]
        except ValueError as error:
            raise OptionError(f"--target {text!r}: {error}; accepted: balanced quotes") from None
        if not NAME.fullmatch(name) or not url:
            raise OptionError(
                f"--target {text!r}: accepted is NAME=URL, with options of its own behind the URL, "
                "in quotes; the name of letters, digits, '.', '_' and '-'"
            )
        return cls(name, url, tuple(options))

    @property
    def key_variable(self) -> str:
        return f"{API_KEY_VARIABLES[0]}_{re.sub('[^A-Z0-9]', '_', self.name.upper())}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One run: of one target, in one round, counted from 1."""

    target: NamedTarget
    round: int

    @property
    def name(self) -> str:
        return f"round-{self.round}"

    @property
    def path(self) -> str:
        """In the folder of runs."""
        return f"{self.target.name}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    targets: tuple[NamedTarget, ...]
    rounds: int
    seed: int  # of the first round
    locustfile: Path
    options: tuple[str, ...]  # of every leg
    runs: Path

    def legs(self) -> list[Leg]:
        """In the order in which they are run: A B, B A, A B, ..."""
        found = []
        for number in range(1, self.rounds + 1):
            turn = self.targets if number % 2 else self.targets[::-1]
            found += [Leg(target=target, round=number) for target in turn]
        return found

    def words(self, leg: Leg) -> list[str]:
        """The leg's command line, without `locust`."""
        return [
            *("-f", str(self.locustfile), "--headless", "--only-summary", "--skip-log-setup"),
            *self.options,
            *leg.target.options,
            *("--host", leg.target.url, "--seed", str(self.seed + leg.round - 1)),
            *("--runs", str(self.runs / leg.target.name), "--run-name", leg.name),
        ]

    def folder(self, leg: Leg) -> Path:
        return self.runs / leg.path

    def kept(self) -> dict[str, Any]:
        """What must be the same when it goes on."""
        return {
            "targets": [[t.name, t.url, *t.options] for t in self.targets],
            "seed": self.seed,
            "locustfile": self.locustfile.name,
            "options": list(self.options),
        }


@dataclass(slots=True)
class Progress:
    """The exit codes of the legs that have ended, also on disk."""

    plan: Plan
    codes: dict[str, int] = field(default_factory=dict)  # by path of the leg

    @classmethod
    def load(cls, plan: Plan) -> Progress:
        """Raises OptionError where the folder holds another plan."""
        path = plan.runs / STATE
        if not path.exists():
            return cls(plan)
        try:
            stored = orjson.loads(path.read_bytes())
            kept, codes = stored["plan"], dict(stored["ended"])
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise OptionError(f"{path}: holds no alternation; accepted: another --runs") from None
        for name, value in plan.kept().items():
            if kept.get(name) != value:
                raise OptionError(
                    f"--runs {str(plan.runs)!r} holds an alternation with {name} {kept.get(name)}, "
                    f"not {value}; accepted: the same, or another folder"
                )
        return cls(plan, codes)

    def ended(self, leg: Leg, code: int) -> None:
        self.codes[leg.path] = code
        state = {"plan": self.plan.kept(), "ended": self.codes}
        replace_file(self.plan.runs / STATE, orjson.dumps(state, option=orjson.OPT_INDENT_2))

    def left(self) -> list[Leg]:
        return [leg for leg in self.plan.legs() if leg.path not in self.codes]


def main(arguments: Sequence[str] | None = None) -> int:
    options, rest = parser().parse_known_args(arguments)
    try:
        plan = _plan(options, rest)
        _check(plan, options)
        progress = Progress.load(plan)
        plan.runs.mkdir(parents=True, exist_ok=True)
        stopped = _run(plan, progress)
        if stopped is not None:
            return stopped
        return _show(plan, progress, options)
    except (ValueError, OSError) as error:
        print(f"turns: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


def _plan(options: argparse.Namespace, rest: Sequence[str]) -> Plan:
    """Raises OptionError."""
    targets = tuple(map(NamedTarget.parse, options.target))
    names = [target.name for target in targets]
    if len(targets) < 2 or len(set(names)) < len(names):
        raise OptionError(f"--target {', '.join(names)}: accepted are two or more, each named once")
    for option, value, least in (("--rounds", options.rounds, 1), ("--seed", options.seed, 0)):
        if value < least:
            raise OptionError(f"{option} {value}: accepted are whole numbers from {least} on")
    for word in (*rest, *(word for target in targets for word in target.options)):
        if word.split("=")[0] in OWN:
            raise OptionError(f"{word}: is set for each leg; accepted: other options of Locust")
    return Plan(
        targets=targets,
        rounds=options.rounds,
        seed=options.seed,
        locustfile=options.locustfile,
        options=tuple(rest),
        runs=options.runs,
    )


def _check(plan: Plan, options: argparse.Namespace) -> None:
    """Refuses what Locust would refuse, of all targets before any traffic. Raises ValueError;
    SystemExit with a message for options that Locust does not know."""
    if options.at:
        parse_tpm("--at", options.at)
    if options.plot:
        from tokenswarm.report.figures.plot import check_format  # matplotlib takes a second to load

        check_format(options.plot)
    if not plan.locustfile.is_file():
        raise OptionError(f"--locustfile {str(plan.locustfile)!r}: no such file")
    for leg in plan.legs()[: len(plan.targets)]:
        parsed = get_parser().parse_args(plan.words(leg))
        read_options(parsed, parsed.host)


def _run(plan: Plan, progress: Progress) -> int | None:
    """Runs the legs that are left. An exit code where it must stop early."""
    left = progress.left()
    for number, leg in enumerate(left, 1):
        print(
            f"\nturns: {leg.target.name}, round {leg.round} of {plan.rounds} "
            f"(leg {number} of {len(left)}): {plan.folder(leg)}",
            flush=True,
        )
        _set_aside(plan, leg)
        code = _locust(plan, leg)
        if code not in ENDED or not (plan.folder(leg) / SUMMARY).exists():
            return _stopped(leg, code)
        progress.ended(leg, code)
    return None


def _stopped(leg: Leg, code: int) -> int:
    if code == BAD_INPUT:
        return BAD_INPUT  # Locust has said why
    why = "interrupted" if code == INTERRUPTED else f"ended early, exit code {code}"
    print(f"turns: {leg.path} {why}; the same command goes on with it", file=sys.stderr)
    return code if code == INTERRUPTED else NOT_ENDED


def _set_aside(plan: Plan, leg: Leg) -> None:
    """What an earlier start of this leg left, which did not get to its end."""
    folder = plan.folder(leg)
    if folder.exists():
        aside = folder.parent / "unfinished" / f"{leg.name}-{time.strftime('%Y%m%d-%H%M%S')}"
        aside.parent.mkdir(exist_ok=True)
        folder.rename(aside)
        print(f"turns: an unfinished {leg.path} is now {aside}", flush=True)


def _locust(plan: Plan, leg: Leg) -> int:
    """The leg's exit code; INTERRUPTED where somebody stopped us."""
    command = [sys.executable, "-m", "locust", *plan.words(leg)]
    key = os.environ.get(leg.target.key_variable)
    own = {} if key is None else {API_KEY_VARIABLES[0]: key}
    # A session of its own: Ctrl-C goes to this process alone, which stops the run in order.
    process = subprocess.Popen(command, env=os.environ | own, start_new_session=True)
    signals: list[int] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        """Asks it to; at once on another Ctrl-C."""
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL) if signals else process.terminate()
        signals.append(number)

    before = {number: signal.signal(number, stop) for number in STOPPING}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return INTERRUPTED if signals else code


def _show(plan: Plan, progress: Progress, options: argparse.Namespace) -> int:
    """Prints the comparison. Raises ValueError, OSError."""
    words = [str(plan.runs / target.name) for target in plan.targets]
    for option in ("--at", "--plot", "--html"):
        value = getattr(options, option.strip("-"))
        words += [option, str(value)] if value else []
    print(f"\ntokenswarm compare {shlex.join(words)}\n", flush=True)
    codes = [compare.main(words), *(progress.codes[leg.path] for leg in plan.legs())]
    for leg in plan.legs():
        if progress.codes[leg.path]:
            print(f"{leg.path}: exit code {progress.codes[leg.path]}, see {plan.folder(leg)}")
    return next(code for code in ENDED if code in codes)


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm turns",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--target", action="append", required=True, metavar="NAME=URL", help="two or more")
    add("--rounds", type=int, default=2, metavar="N", help="turns of each target (default: 2)")
    add("--runs", type=Path, required=True, metavar="FOLDER", help="where results go")
    add("--seed", type=int, default=1, metavar="N", help="of the first round (default: 1)")
    add("-f", "--locustfile", type=Path, default=LADDER, help="(default: the ladder)")
    add("--at", metavar="TPM", help="level of the comparison's headline: 2.5M")
    add("--plot", type=Path, metavar="FILE", help="the comparison's curves: FILE.png or FILE.svg")
    add("--html", type=Path, metavar="FILE", help="the comparison as one page")
    return parser

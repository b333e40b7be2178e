"""Locust's events to the parts: options, checks before traffic, start, levels, end.

Imported by every locustfile; its listeners are registered once per process.

    init          headless: everything that can be refused is refused here, exit code 2
    test_start    master or alone: settles the terms, begins the run; worker: takes the terms
    spawning_complete, shapes      begin levels
    test_stopping  the last level ends;   test_stop, quitting   results
"""

from __future__ import annotations

from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import gc
import logging
import secrets
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NoReturn

import gevent

from exporters import cluster, turns
from exporters.cluster import MasterLink
from exporters.progress import Progress
from exporters.turns import TurnFeed
from locustfiles import _preflight, _results, _run
from locustfiles._levels import Levels
from locustfiles._options import OptionError, Options, add_arguments, read_options
from locustfiles._run import Run
from locustfiles._terms import Terms
from measure.ledger import Target
from workload.profile import Profile
from workload.profiles import load_profile

logger = logging.getLogger("tokenswarm")

BAD_SETTING = 2  # exit code
_CONNECT_S = 5.0  # guess: forked workers reach their master within 0.1 s


@dataclass(slots=True)
class _State:
    """Of this process: one environment, one run at a time."""

    feed: TurnFeed | None = None
    link: MasterLink | None = None
    run: Run | None = None
    levels: Levels | None = None
    progress: Progress | None = None


_state = _State()


def current_run() -> Run:
    """The run that is on. Raises RuntimeError when none is: the test could not be started."""
    if _state.run is None:
        raise RuntimeError("no run is on: see the error above")
    return _state.run


def current_levels() -> Levels:
    """The levels of the run that is on, on a master or in a process alone; else RuntimeError."""
    if _state.levels is None:
        raise RuntimeError("no run is on: see the error above")
    return _state.levels


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any, **_kw: Any) -> None:
    add_arguments(parser)


@events.init.add_listener
def _install(environment: Environment, runner: Any, **_kw: Any) -> None:
    _state.feed = turns.install(environment)
    if isinstance(runner, MasterRunner):
        _state.link = cluster.install_on_master(environment, _state.feed)
    elif isinstance(runner, WorkerRunner):
        cluster.install_on_worker(environment, _state.feed, _in_flight, _take_target)
    parsed = environment.parsed_options
    if parsed is not None and parsed.headless and not isinstance(runner, WorkerRunner):
        try:
            options, _ = _checked(environment)
            _examine(options)
            _run.load_corpus(options)
        except (ValueError, _preflight.EndpointError) as error:
            _refuse(error, runner)


def _refuse(error: Exception, runner: Any) -> NoReturn:
    print(f"tokenswarm: {error}", file=sys.stderr)
    if isinstance(runner, MasterRunner):
        _dismiss_workers(runner)
    raise SystemExit(BAD_SETTING)


def _dismiss_workers(runner: MasterRunner) -> None:
    """Forked workers would look for their master for another minute, and find the next one."""
    parsed = runner.environment.parsed_options
    forked = (parsed and parsed.processes) or 0
    with gevent.Timeout(_CONNECT_S, False):
        while runner.worker_count < forked:
            gevent.sleep(0.05)
    runner.quit()


def _checked(environment: Environment) -> tuple[Options, Profile]:
    """Everything that can be refused without sending anything. Raises ValueErrors."""
    assert environment.parsed_options is not None
    options = read_options(environment.parsed_options, environment.host)
    profile = load_profile(options.profile)
    if options.runs_folder.exists() and not options.runs_folder.is_dir():
        raise OptionError(f"--runs {str(options.runs_folder)!r}: not a folder; accepted: a folder")
    folder = options.runs_folder / (options.run_name or "")
    if options.run_name and folder.exists():
        raise OptionError(
            f"--run-name {options.run_name!r}: {folder} exists; accepted: a name not used before"
        )
    return options, profile


def _examine(options: Options) -> tuple[Target, float]:
    with closing(_run.new_client(options, _run.new_tls(options))) as client:
        return _preflight.examine(client, options)


@events.test_start.add_listener
def _start(environment: Environment, **_kw: Any) -> None:
    try:
        if isinstance(environment.runner, WorkerRunner):
            _start_worker(environment, environment.runner)
        else:
            _start_run(environment)
    except (ValueError, OSError, _preflight.EndpointError) as error:
        logger.error("the test cannot start: %s", error)
        environment.process_exit_code = BAD_SETTING
        if environment.runner is not None:
            gevent.spawn(environment.runner.stop)


def _start_run(environment: Environment) -> None:
    options, profile = _checked(environment)
    target, speed = _examine(options)
    corpus = _run.load_corpus(options)
    open_mode = options.tpm is not None or environment.shape_class is not None
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    terms = Terms(
        profile=options.profile,
        name=options.run_name or f"{stamp}-{profile.name}-{'tpm' if open_mode else 'developers'}",
        salt="" if options.warm else secrets.token_hex(8),
        started_at=now,
        speed=speed,
        open_mode=open_mode,
        target=target,
    )
    # Locust sends the options to its workers right after this.
    environment.parsed_options.tokenswarm_terms = terms.pack()  # type: ignore[union-attr]
    assert _state.feed is not None
    run = _run.start(terms, options, profile, corpus, _state.feed, worker=None, index=0)
    _state.run, _state.levels = run, Levels(run, _state.link)
    _state.progress = Progress(
        run.feed,
        run.clock.now_s,
        _state.levels.in_flight,
        unit="s" if speed == 1 else "engine s",
    )
    _freeze()


def _start_worker(environment: Environment, runner: WorkerRunner) -> None:
    parsed = environment.parsed_options
    assert parsed is not None and _state.feed is not None
    terms = Terms.unpack(parsed.tokenswarm_terms)
    parsed.profile = terms.profile
    options = read_options(parsed, environment.host)
    _state.run = _run.start(
        terms,
        options,
        load_profile(options.profile),
        _run.load_corpus(options),
        _state.feed,
        worker=runner.worker_index,
        index=runner.worker_index,
    )
    _freeze()


def _freeze() -> None:
    """What exists now is there to stay: a full collection would stop the hub for 50 ms and more
    (LOCUST.md 1.3)."""
    gc.collect()
    gc.freeze()


def _in_flight() -> int:
    return _state.run.in_flight if _state.run else 0


def _take_target(tpm: float | None, level: int | None, ramp_s: float) -> None:
    if _state.run is not None:
        _state.run.set_target(tpm, level, ramp_s)


@events.spawning_complete.add_listener
def _begin_level(user_count: int, **_kw: Any) -> None:
    """Without a shape the number of users, or --tpm, is the level."""
    if _state.levels is None or _state.run is None:
        return  # a worker, or a test that could not start
    if _state.run.terms.open_mode:
        if _state.run.options.tpm is not None:
            _state.levels.begin(tpm=_state.run.options.tpm, ramp_s=_state.run.options.ramp_s)
    else:
        _state.levels.begin(developers=user_count)


@events.test_stopping.add_listener
def _rest(**_kw: Any) -> None:
    if _state.levels is not None:
        _state.levels.rest()


@events.test_stop.add_listener
def _stop(environment: Environment, **_kw: Any) -> None:
    # A headless master stops before its workers do, and quits when they have reported.
    parsed = environment.parsed_options
    if not (isinstance(environment.runner, MasterRunner) and parsed and parsed.headless):
        _finish()


@events.quitting.add_listener
def _quit(**_kw: Any) -> None:
    _finish()


def _finish() -> None:
    """Results of the run that was on, once."""
    run, _state.run = _state.run, None
    progress, _state.progress = _state.progress, None
    _state.levels = None
    if progress is not None:
        progress.close()
    if run is not None:
        run.close()
        if run.worker is None:
            _results.show(run)

"""Locust's events to the parts: options, checks before traffic, start, levels, end.

Imported by every locustfile; its listeners are registered once per process.

    init          headless: everything that can be refused is refused here, exit code 2
    test_start    master or alone: settles the terms, begins the run; worker: takes the terms
    spawning_complete, shapes      begin levels
    test_stopping  the last level ends, a master waits for its workers' last turns
    test_stop, quitting            results
"""

from __future__ import annotations

from locust import events
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import argparse
import gc
import logging
import secrets
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NoReturn

import gevent

from exporters import turns
from exporters.progress import Progress
from exporters.turns import IDLE, TurnFeed
from tokenswarm.exit_codes import BAD_INPUT, INVALID_RUN
from tokenswarm.measure.amounts import parse_rate
from tokenswarm.measure.ledger import Target
from tokenswarm.measure.verdict import INVALID
from tokenswarm.shell import gate, link, live_page, preflight, results, web_form
from tokenswarm.shell import run as runs
from tokenswarm.shell.levels import Levels
from tokenswarm.shell.link import MasterLink, Status
from tokenswarm.shell.live_page import LivePage
from tokenswarm.shell.metrics import Metrics
from tokenswarm.shell.options import (
    OptionError,
    Options,
    add_arguments,
    read_grafana_url,
    read_options,
)
from tokenswarm.shell.run import Run
from tokenswarm.shell.terms import Terms
from workload.profile import Profile
from workload.profiles import load_profile

logger = logging.getLogger("tokenswarm")

# Workers report every 3 s (Locust's WORKER_REPORT_INTERVAL); with room for two.
_LAST_REPORT_S = 8.0
_CONNECT_S = 5.0  # guess: forked workers reach their master within 0.1 s


@dataclass(slots=True)
class _State:
    """Of this process: one environment, one run at a time."""

    feed: TurnFeed | None = None
    link: MasterLink | None = None
    run: Run | None = None
    levels: Levels | None = None
    progress: Progress | None = None
    metrics: Metrics | None = None
    page: LivePage | None = None
    last_run: Run | None = None  # also when it has ended
    examined: tuple[Target, float] | None = None  # by the check before a headless start
    asked_users: int | None = None  # of Locust, when the level began
    environment: Environment | None = None


_state = _State()


def current_run() -> Run:
    """The run that is on. Raises RuntimeError when none is: the test could not be started."""
    if _state.run is None:
        raise RuntimeError("no run is on: see the error above")
    return _state.run


def is_on() -> bool:
    """Whether there is a current run: not where the test could not be started."""
    return _state.run is not None


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
    _state.environment = environment
    _state.feed = turns.install(environment)
    if isinstance(runner, MasterRunner):
        _state.link = link.install_on_master(environment, _state.feed)
    elif isinstance(runner, WorkerRunner):
        link.install_on_worker(environment, _state.feed, _status, _take_target)
    try:
        if environment.web_ui is not None:
            web_form.require_free_port(environment.web_ui.host, environment.web_ui.port)
        _state.metrics = Metrics(environment, _state.feed, _state.link)
    except OptionError as error:
        _refuse(error, runner)

    def refuse(parsed: argparse.Namespace, host: str) -> None:
        # Of a run that is on the form changes the users alone: what else it holds are the values of
        # the command line, not those that the run was started with.
        if _state.run is None:
            options, profile = _checked(environment, parsed, host)
            _state.examined = _examine(options, profile)

    web_form.install(environment, refuse)
    parsed = environment.parsed_options
    if parsed is not None:
        try:
            grafana_url = read_grafana_url(parsed)
        except OptionError as error:
            _refuse(error, runner)
        _state.page = live_page.install(environment, grafana_url, _change_tpm)
    if parsed is not None and parsed.headless and not isinstance(runner, WorkerRunner):
        try:
            options, profile = _checked(environment, parsed, _host(environment))
            _state.examined = _examine(options, profile)
            corpus = runs.load_corpus(options)
            gate.require_comparable(
                options, profile, corpus, open_mode=_is_open(environment, options)
            )
            runs.promised(profile)  # kept; --run-time counts from before test_start
        except (ValueError, OSError, preflight.EndpointError) as error:
            _refuse(error, runner)


def _refuse(error: Exception, runner: Any) -> NoReturn:
    print(f"tokenswarm: {error}", file=sys.stderr)
    if isinstance(runner, MasterRunner):
        _dismiss_workers(runner)
    raise SystemExit(BAD_INPUT)


def _dismiss_workers(runner: MasterRunner) -> None:
    """Forked workers would look for their master for another minute, and find the next one."""
    parsed = runner.environment.parsed_options
    forked = (parsed and parsed.processes) or 0
    with gevent.Timeout(_CONNECT_S, False):
        while runner.worker_count < forked:
            gevent.sleep(0.05)
    runner.quit()


def _checked(
    environment: Environment, parsed: argparse.Namespace | None, host: str | None
) -> tuple[Options, Profile]:
    """Everything that can be refused without sending anything. Raises ValueErrors."""
    assert parsed is not None
    options = read_options(parsed, host)
    profile = load_profile(options.profile)
    if options.runs_folder.exists() and not options.runs_folder.is_dir():
        raise OptionError(f"--runs {str(options.runs_folder)!r}: not a folder; accepted: a folder")
    folder = options.runs_folder / (options.run_name or "")
    if options.tpm is not None and _offers_rates(environment):
        raise OptionError(
            f"--tpm {options.tpm:g}: the ladder has --levels of its own; accepted: one of the two"
        )
    if _searches(environment):
        gate.require_objectives(options)
    if options.run_name and folder.exists():
        raise OptionError(
            f"--run-name {options.run_name!r}: {folder} exists; accepted: a name not used before"
        )
    return options, profile


def _developers(environment: Environment) -> list[type]:
    """The user classes that are coding developers; others may stand beside them."""
    return [c for c in environment.user_classes if getattr(c, "is_developer", False)]


def _host(environment: Environment) -> str | None:
    """--host, else the one that the developers' classes name. Raises OptionError for several: one
    run has one target."""
    if environment.host:
        return environment.host
    hosts = {host for c in _developers(environment) if (host := getattr(c, "host", None))}
    if len(hosts) > 1:
        raise OptionError(
            f"host of the user classes: {', '.join(sorted(hosts))}; accepted: one, or --host"
        )
    return hosts.pop() if hosts else None


def _examine(options: Options, profile: Profile) -> tuple[Target, float]:
    with closing(runs.new_client(options, runs.new_tls(options))) as client:
        return preflight.examine(client, options, profile)


@events.test_start.add_listener
def _start(environment: Environment, **_kw: Any) -> None:
    try:
        if isinstance(environment.runner, WorkerRunner):
            _start_worker(environment, environment.runner)
        else:
            _start_run(environment)
    except (ValueError, OSError, preflight.EndpointError) as error:
        logger.error("the test cannot start: %s", error)
        environment.process_exit_code = BAD_INPUT
        if environment.runner is not None:
            # Not at once: Locust is about to spawn, and a stop in between loses the workers.
            gevent.spawn_later(1.0, environment.runner.stop)


def _start_run(environment: Environment) -> None:
    assert environment.parsed_options is not None
    environment.parsed_options.tokenswarm_terms = None  # until they are settled
    options, profile = _checked(environment, environment.parsed_options, _host(environment))
    target, speed = _take_examined() or _examine(options, profile)
    corpus = runs.load_corpus(options)
    promised = runs.promised(profile)
    open_mode = _is_open(environment, options)
    gate.require_comparable(options, profile, corpus, open_mode=open_mode)
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
    environment.parsed_options.tokenswarm_terms = terms.pack()
    environment.process_exit_code = None  # of an earlier start that failed
    assert _state.feed is not None
    run = runs.start(terms, options, profile, corpus, _state.feed, worker=None)
    run.writer.write_workload(promised)
    _state.run, _state.levels, _state.last_run = run, Levels(run, _state.link), run
    if _state.link is not None:
        _state.link.expect(terms.name)
    assert _state.metrics is not None
    _state.metrics.start(run)
    if not open_mode:
        gevent.spawn(_end_levels_at_ramps, environment.runner, run)
    if _state.page is not None:
        load = run.load if _state.link is None else _state.link.load
        _state.page.begin(run, load, promised, rate_can_change=options.tpm is not None)
    _state.progress = Progress(
        run.feed,
        run.clock.now_s,
        _state.levels.in_flight,
        unit="s" if speed == 1 else "engine s",
    )
    _freeze()


def _take_examined() -> tuple[Target, float] | None:
    """What the check before this start found, if there was one; a later start looks again."""
    examined, _state.examined = _state.examined, None
    return examined


def _is_open(environment: Environment, options: Options) -> bool:
    return options.tpm is not None or _offers_rates(environment)


def _offers_rates(environment: Environment) -> bool:
    """Whether the shape's levels are rates; any other shape is about users, as usual."""
    return bool(getattr(environment.shape_class, "open_mode", False))


def _searches(environment: Environment) -> bool:
    """Whether the shape looks for levels that miss their SLOs."""
    return bool(getattr(environment.shape_class, "searches", False))


def _start_worker(environment: Environment, runner: WorkerRunner) -> None:
    parsed = environment.parsed_options
    assert parsed is not None and _state.feed is not None
    if parsed.tokenswarm_terms is None:
        return  # the master could not start
    terms = Terms.unpack(parsed.tokenswarm_terms)
    parsed.profile = terms.profile
    options = read_options(parsed, _host(environment))
    _state.run = runs.start(
        terms,
        options,
        load_profile(options.profile),
        runs.load_corpus(options),
        _state.feed,
        worker=runner.worker_index,
    )
    _state.last_run = _state.run
    assert _state.metrics is not None
    _state.metrics.start(_state.run)
    _freeze()


def _freeze() -> None:
    """What exists now is there to stay: a full collection would stop the hub for 50 ms and more
    (docs/measuring.md 1.3)."""
    gc.collect()
    gc.freeze()


def _status() -> Status:
    last = _state.last_run
    return Status(
        last.terms.name if last else None,
        last.load() if last else IDLE,
        ended=_state.run is None,
        page=_state.metrics.address if _state.metrics else None,
    )


def _take_target(tpm: float | None, level: int | None, ramp_s: float) -> None:
    if _state.run is not None:
        _state.run.set_target(tpm, level, ramp_s)


@events.spawning_complete.add_listener
def _begin_level(user_count: int, **_kw: Any) -> None:
    """Without a shape the number of users, or --tpm, is the level."""
    if _state.levels is None or _state.run is None:
        return  # a worker, or a test that could not start
    if _state.run.terms.open_mode:
        # The first level only: the page may have asked for another rate since.
        if _state.run.options.tpm is not None and _state.levels.current is None:
            _state.levels.begin(tpm=_state.run.options.tpm, ramp_s=_state.run.options.ramp_s)
    else:
        _state.asked_users = user_count
        _state.levels.begin(developers=_developer_count(user_count))


def _developer_count(user_count: int) -> int:
    """Of so many users."""
    assert _state.environment is not None and _state.environment.runner is not None
    by_class = _state.environment.runner.target_user_classes_count
    names = {c.__name__ for c in _developers(_state.environment)}
    others = sum(count for name, count in by_class.items() if name not in names)
    return user_count - others


def _change_tpm(text: str) -> str:
    """A new level at this rate, of the page. Says what comes; raises OptionError."""
    run, levels = _state.run, _state.levels
    if run is None or levels is None or run.stopping:
        raise OptionError("TPM: no run is on; accepted while one is")
    if run.options.tpm is None:
        raise OptionError("TPM: developers or a ladder set it; accepted in a run with a target TPM")
    tpm = parse_rate("TPM", text)
    levels.begin(tpm=tpm, ramp_s=run.options.ramp_s)
    assert levels.current is not None
    return f"Level {levels.current.index}: {tpm:,.0f} tokens per minute, after a ramp."


def _end_levels_at_ramps(runner: Any, run: Run) -> None:
    """In closed mode a level ends when another number of users is asked for; the ramp is no level,
    and `_begin_level` begins the next one."""
    while _state.run is run and _state.levels is not None:
        level = _state.levels.current
        if level is not None and runner.target_user_count != _state.asked_users:
            _state.levels.end()
        gevent.sleep(0.5)


@events.test_stopping.add_listener
def _rest(environment: Environment, **_kw: Any) -> None:
    if _state.run is not None:
        _state.run.stopping = True
    if _state.levels is not None:
        _state.levels.rest()
    if _state.link is not None and _state.run is not None:
        # The turns under way, then the last report.
        _state.link.stop_workers((environment.stop_timeout or 0) + _LAST_REPORT_S)


@events.test_stop.add_listener
def _stop(environment: Environment, **_kw: Any) -> None:
    _finish(environment)
    if isinstance(environment.runner, WorkerRunner):
        # A worker lets this time pass once more before it reports ready, and meanwhile no test can
        # start. Its users have stopped by now, and the next start brings the value anew.
        environment.stop_timeout = 0


@events.quitting.add_listener
def _quit(environment: Environment, **_kw: Any) -> None:
    # On Ctrl-C and SIGTERM Locust comes here first, with turns under way.
    if _state.run is not None and environment.runner is not None:
        environment.runner.stop()
    _finish(environment)
    if _state.metrics is not None:
        _state.metrics.close()


def _finish(environment: Environment) -> None:
    """Results of the run that was on, once."""
    if _state.metrics is not None:
        _state.metrics.stop()
    run, _state.run = _state.run, None
    progress, _state.progress = _state.progress, None
    _state.levels = None
    if progress is not None:
        progress.close()
    if run is not None:
        run.close(results.ending(run, _state.link) if run.worker is None else None)
        if run.worker is None:
            found = results.show(run)
            if _state.page is not None:
                _state.page.end(found)
            judged = None if _searches(environment) else gate.exit_code(run, found)
            invalid = found.verdict.grade == INVALID
            # None: Locust's own, by whether a turn failed.
            environment.process_exit_code = INVALID_RUN if judged is None and invalid else judged

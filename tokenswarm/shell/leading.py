"""Leading: the conductor of a Locust master, or of a process alone: settles the terms of a run,
begins its levels, ends it and judges it."""

from __future__ import annotations

from locust.env import Environment
from locust.runners import MasterRunner

import argparse
import logging
import secrets
import sys
import time
from contextlib import nullcontext
from typing import Any, NoReturn, Protocol, runtime_checkable

import gevent

from exporters.progress import Plan, Progress
from exporters.turns import IDLE, Load
from tokenswarm.exit_codes import INTERRUPTED, INVALID_RUN
from tokenswarm.measure.amounts import parse_rate
from tokenswarm.measure.failing import Failing
from tokenswarm.measure.record import TurnRecord
from tokenswarm.measure.verdict import INVALID
from tokenswarm.shell import (
    admission,
    gate,
    link,
    live_page,
    results,
    signals,
    start_form,
    web_form,
)
from tokenswarm.shell import run as runs
from tokenswarm.shell.conductor import Conductor, freeze
from tokenswarm.shell.levels import Levels
from tokenswarm.shell.link import MasterLink
from tokenswarm.shell.live_page import LivePage
from tokenswarm.shell.metrics import Metrics
from tokenswarm.shell.options import OptionError, Options, read_grafana_url
from tokenswarm.shell.preflight import Examined
from tokenswarm.shell.probes import Probes
from tokenswarm.shell.run import Run
from tokenswarm.shell.run_clock import DrivenClock
from tokenswarm.shell.terms import Terms
from workload.source import Source

logger = logging.getLogger("tokenswarm")

# Workers report every 3 s (Locust's WORKER_REPORT_INTERVAL); with room for two.
_LAST_REPORT_S = 8.0
# Turns under way when a run ends for its failures: long enough for those that fail fast (guess).
_FAILING_GRACE_S = 5.0
_CONNECT_S = 5.0  # guess: forked workers reach their master within 0.1 s


@runtime_checkable
class RatePlan(Protocol):
    """A shape that knows how it will go."""

    def plan(self, run: Run) -> Plan | None:
        """None before its first level."""


class LeadingConductor(Conductor):
    """Of a master, or of a process alone. levels: of the run that is on."""

    def __init__(self, environment: Environment, runner: Any) -> None:
        super().__init__(environment, runner)
        self._link: MasterLink | None = None
        if isinstance(runner, MasterRunner):
            self._link = link.install_on_master(environment, self._feed)
        self._page: LivePage | None = None
        self._probes: Probes | None = None  # of the run that is on
        self._progress: Progress | None = None
        self._examined: Examined | None = None  # by the check before a headless start
        self._failing: Failing | None = None  # of the run that is on, unless it may fail
        self._asked_users: int | None = None  # of Locust, when the level began

    def _prepare(self) -> None:
        environment, parsed = self._environment, self._environment.parsed_options
        if environment.web_ui is not None:
            web_form.require_free_port(environment.web_ui.host, environment.web_ui.port)
        self._metrics = Metrics(environment, self._feed, self._link)
        web_form.install(environment, self._refuse_form, admission.host(environment))
        if parsed is None:
            return
        grafana_url = read_grafana_url(parsed)
        self._page = live_page.install(
            environment, grafana_url, self._change_tpm, lambda: start_form.fields(environment)
        )
        if self._leads_headless():
            self._examine_headless(parsed)

    def start(self) -> None:
        with nullcontext() if self._page is None else self._page.preparing():
            super().start()

    def _start(self) -> None:
        environment, parsed = self._environment, self._environment.parsed_options
        assert parsed is not None
        parsed.tokenswarm_terms = None  # until they are settled
        options, source = admission.checked(environment, parsed, admission.host(environment))
        examined = self._take_examined() or admission.examine(environment, options, source)
        open_mode = admission.is_open(environment, options)
        runs.known_rates(source, open_mode=open_mode)
        corpus = runs.load_corpus(options)
        promised = runs.promised(source)
        gate.require_comparable(
            options, source, corpus, open_mode=open_mode, reasoning=examined.reasoning
        )
        terms = _terms(options, source, examined, open_mode=open_mode)
        # Locust sends the options to its workers right after this.
        parsed.tokenswarm_terms = terms.pack()
        environment.process_exit_code = None  # of an earlier start that failed
        run = runs.start(
            terms,
            options,
            source,
            corpus,
            self._feed,
            worker=None,
            on_broken=self._lose_clock,
            on_full=self._lose_disk,
        )
        run.writer.write_workload(promised)
        if options.metrics_urls:
            self._probes = Probes(options.metrics_urls, run.folder, run.clock.now_s, run.tls)
        self.run, self.levels, self._last_run = run, Levels(run, self._link), run
        if self._link is not None:
            self._link.expect(terms.name, run.clock.now_s)
        self._watch_failures(options)
        assert self._metrics is not None
        self._metrics.start(run)
        if not open_mode:
            gevent.spawn(self._end_levels_at_ramps, run)
        if self._page is not None:
            load = run.load if self._link is None else self._link.load
            self._page.begin(
                run,
                load,
                promised,
                rate_can_change=options.tpm is not None,
                users_can_change=environment.shape_class is None,
            )
        self._progress = Progress(
            run.feed,
            run.clock.now_s,
            self.levels.in_flight,
            unit="engine s" if run.header.engine_seconds else "s",
            plan=lambda: self._plan(run),
            told_to_wait=lambda: self._load(run).told_to_wait,
        )
        freeze()

    def begin_level(self, user_count: int) -> None:
        """Without a shape the number of users, or --tpm, is the level."""
        if self.levels is None or self.run is None:
            return  # the test could not start
        if self.run.terms.open_mode:
            # The first level only: the page may have asked for another rate since.
            if self.run.options.tpm is not None and self.levels.current is None:
                self.levels.begin(tpm=self.run.options.tpm, ramp_s=self.run.options.ramp_s)
        else:
            self._asked_users = user_count
            self.levels.begin(developers=self._developer_count(user_count))

    def rest(self) -> None:
        super().rest()
        if self.levels is not None:
            self.levels.rest()
        if self._link is not None and self.run is not None:
            # The turns under way, then the last report.
            self._link.stop_workers((self._environment.stop_timeout or 0) + _LAST_REPORT_S)

    def interrupt(self, number: int) -> None:
        if number > 1 or self._last_run is not None or not self._leads_headless():
            return super().interrupt(number)
        print("tokenswarm: interrupted before the run began", file=sys.stderr)
        if isinstance(self._runner, MasterRunner):
            self._runner.quit()  # and with it the workers that have come
        signals.raise_in_main(SystemExit(INTERRUPTED))

    def cut_off(self) -> None:
        """On a master those of its workers, too."""
        if self._link is not None:
            self._link.cut_off()
        super().cut_off()

    def _leads_headless(self) -> bool:
        """Whether Locust's main loop waits for the start that this process was made for."""
        parsed = self._environment.parsed_options
        return bool(parsed is not None and parsed.headless)

    def _refuse_form(self, parsed: argparse.Namespace, host: str) -> None:
        """Of a run that is on the form changes the users and the TPM; what else it changes against
        the values that the process holds is refused."""
        if self.run is None:
            options, source = admission.checked(self._environment, parsed, host)
            self._examined = admission.examine(self._environment, options, source)
            return
        held = self._environment.parsed_options
        assert held is not None
        changed = admission.changed(held, parsed)
        tpm = changed.pop("--tpm", None)
        if changed:
            option, value = next(iter(changed.items()))
            raise OptionError(
                f"{option} {value!r}: a run is on; accepted until it has ended: users and TPM"
            )
        if tpm is not None:
            self._change_tpm(tpm)

    def _examine_headless(self, parsed: argparse.Namespace) -> None:
        environment = self._environment
        admission.require_no_users(environment, parsed)
        options, source = admission.checked(environment, parsed, admission.host(environment))
        open_mode = admission.is_open(environment, options)
        runs.known_rates(source, open_mode=open_mode)
        admission.fill_places(environment, options)
        if (reason := admission.too_few(environment, options, source)) is not None:
            logger.warning(reason)
        self._examined = admission.examine(environment, options, source)
        corpus = runs.load_corpus(options)
        reasoning = self._examined.reasoning
        gate.require_comparable(options, source, corpus, open_mode=open_mode, reasoning=reasoning)
        runs.promised(source)  # kept; --run-time counts from before test_start

    def _refuse(self, error: Exception) -> NoReturn:
        if isinstance(self._runner, MasterRunner):
            self._dismiss_workers(self._runner)
        super()._refuse(error)

    def _dismiss_workers(self, runner: MasterRunner) -> None:
        """Forked workers would look for their master for another minute, and find the next one."""
        parsed = self._environment.parsed_options
        forked = (parsed and parsed.processes) or 0
        with gevent.Timeout(_CONNECT_S, False):
            while runner.worker_count < forked:
                gevent.sleep(0.05)
        runner.quit()

    def _load(self, run: Run) -> Load:
        """Of all processes, as far as they have said."""
        return run.load() if self._link is None else self._link.load() or IDLE

    def _plan(self, run: Run) -> Plan | None:
        """A shape's own; without one --run-time, wall seconds, is the end."""
        shape = self._environment.shape_class
        if shape is not None:
            plan: Plan | None = shape.plan(run) if isinstance(shape, RatePlan) else None
            return plan
        parsed = self._environment.parsed_options
        if parsed is None or not parsed.run_time:
            return None
        return Plan(None, parsed.run_time * run.clock.speed)

    def _take_examined(self) -> Examined | None:
        """What the check before this start found, if there was one; a later start looks again."""
        examined, self._examined = self._examined, None
        return examined

    def _developer_count(self, user_count: int) -> int:
        """Of so many users."""
        assert self._environment.runner is not None
        by_class = self._environment.runner.target_user_classes_count
        names = {c.__name__ for c in admission.developers(self._environment)}
        others = sum(count for name, count in by_class.items() if name not in names)
        return user_count - others

    def _change_tpm(self, text: str) -> str:
        """A new level at this rate, of the page. Says what comes; raises OptionError."""
        run, levels = self.run, self.levels
        if run is None or levels is None or run.stopping:
            raise OptionError("TPM: no run is on; accepted while one is")
        if run.options.tpm is None:
            raise OptionError(
                "TPM: developers or a ladder set it; accepted in a run with a target TPM"
            )
        tpm = parse_rate("TPM", text)
        levels.begin(tpm=tpm, ramp_s=run.options.ramp_s)
        assert levels.current is not None
        return f"Level {levels.current.index}: {tpm:,.0f} tokens per minute, after a ramp."

    def _end_levels_at_ramps(self, run: Run) -> None:
        """In closed mode a level ends when another number of users is asked for; the ramp is no
        level, and `begin_level` begins the next one."""
        while self.run is run and self.levels is not None:
            level = self.levels.current
            if level is not None and self._runner.target_user_count != self._asked_users:
                self.levels.end()
            gevent.sleep(0.5)

    def _lose_disk(self, error: OSError) -> None:
        """The ledger's: said once, and the traffic stops."""
        logger.error(
            "the ledger cannot be written: %s; its lines are kept in memory, and the traffic stops",
            error,
        )
        if self._leads_headless():
            gevent.spawn(signals.raise_in_main, KeyboardInterrupt())  # as Ctrl-C would end it
        elif self._environment.runner is not None:
            gevent.spawn(self._environment.runner.stop)

    def _watch_failures(self, options: Options) -> None:
        """A search is meant to meet levels that fail, and goes below them."""
        limit = options.gate.max_failures
        if limit is not None and not admission.searches(self._environment):
            self._failing = Failing(limit)
            self._feed.subscribe(self._notice_failure)

    def _notice_failure(self, record: TurnRecord) -> None:
        run = self.run
        if self._failing is None or run is None or run.stopping or run.stopped:
            return
        if reason := self._failing.add(record):
            run.stopped = reason
            logger.error("the run ends before its time: %s", reason)
            if run.clock.driven:
                self._environment.stop_timeout = 0  # time stands still: nothing more will end
            gevent.spawn(self._end_early, run)

    def _end_early(self, run: Run) -> None:
        """With its results; headless the process ends, the web UI stays."""
        if isinstance(run.clock, DrivenClock):
            run.clock.stop()
        gevent.spawn_later(_FAILING_GRACE_S, self._cut_off_rest, run)
        if self._leads_headless():
            self._runner.quit()
        else:
            self._runner.stop()

    def _cut_off_rest(self, run: Run) -> None:
        if self.run is run:
            self.cut_off()

    def _finish(self) -> None:
        progress, self._progress = self._progress, None
        self.levels = None
        if self._failing is not None:
            self._failing = None
            self._feed.unsubscribe(self._notice_failure)
        if progress is not None:
            progress.close()
        if self.run is not None:
            self._environment.process_exit_code = INVALID_RUN  # results that fail are no pass
        super()._finish()

    def _end(self, run: Run) -> None:
        probes, self._probes = self._probes, None
        if probes is not None:
            probes.close()
        run.close(results.ending(run, self._link))
        results.save_rest(run)
        self._judge(run)

    def _judge(self, run: Run) -> None:
        """Shows what was found, and leaves with its exit code."""
        found = results.show(run)
        if self._page is not None:
            self._page.end(found, run.folder / results.PAGE)
        searches = admission.searches(self._environment)
        whole = not run.writer.unsaved
        judged = None if searches or not whole else gate.exit_code(run, found)
        invalid = found.verdict.grade == INVALID
        # None: Locust's own, by whether a turn failed.
        self._environment.process_exit_code = INVALID_RUN if judged is None and invalid else judged


def _terms(options: Options, source: Source, examined: Examined, *, open_mode: bool) -> Terms:
    """What all processes of a run that begins now agree on."""
    now = time.time()
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    return Terms(
        profile=options.profile,
        name=options.run_name or f"{stamp}-{source.name}-{'tpm' if open_mode else 'developers'}",
        salt="" if options.warm else secrets.token_hex(8),
        started_at=now,
        speed=examined.speed,
        open_mode=open_mode,
        target=examined.target,
        driven=examined.driven,
        reasoning=examined.reasoning,
    )

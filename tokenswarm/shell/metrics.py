"""What this process shows to Prometheus: its page, where all pages are, pushes; and its health."""

from __future__ import annotations

from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

import errno
import logging
import time
from dataclasses import dataclass

from exporters.prometheus.process_page import Links, Page, Workers
from exporters.prometheus.pushgateway import Pushgateway
from exporters.prometheus.run_page import Origin, RunPage
from exporters.prometheus.scrape import PageServer, TargetsFile, reachable
from exporters.turns import TurnFeed
from tokenswarm.measure.record import Level
from tokenswarm.shell.health_sampler import HealthSampler
from tokenswarm.shell.link import MasterLink
from tokenswarm.shell.options import MetricsOptions, OptionError, read_metrics_options
from tokenswarm.shell.run import Run
from workload.source import mean_prompt_tokens

logger = logging.getLogger("tokenswarm")

_STATES = ("ready", "spawning", "running", "missing")


@dataclass(slots=True)
class _Watch:
    """What goes on while a run does."""

    page: RunPage
    sampler: HealthSampler
    gateway: Pushgateway | None

    def level(self, level: Level) -> None:
        self.page.level(level)
        self.sampler.cut()


class Metrics:
    """Of this process, from Locust's `init` on; one run at a time."""

    def __init__(self, environment: Environment, feed: TurnFeed, link: MasterLink | None) -> None:
        """link: to the workers, on a master. Raises OptionError."""
        self._environment = environment
        self._feed = feed
        self._link = link
        self._page = Page(self._process(), self._links)
        self._server: PageServer | None = None
        self.address: str | None = None  # of this process's page, as host:port, where it has one
        self._targets: TargetsFile | None = None
        self._gateways: dict[str, Pushgateway] = {}
        self._watch: _Watch | None = None
        assert environment.parsed_options is not None
        self._serve(read_metrics_options(environment.parsed_options))

    def start(self, run: Run) -> None:
        """A run begins: the series of the one before are gone."""
        self._serve(run.options.metrics)
        process = self._process()
        page = RunPage(
            run.header,
            Origin(process=process, merged=run.worker is None),
            load=run.load if self._link is None else self._link.load,
            lost_records=lambda: None if self._link is None else self._link.lost_records(),
            mean_prompt_tokens=mean_prompt_tokens(run.source),
            objectives=run.options.gate.slos,
        )
        self._page.show(page, process)
        sampler = HealthSampler(self._feed, process, run.clock.now_s)
        self._watch = _Watch(page, sampler, self._gateway(run.options.metrics))
        self._feed.subscribe(page.turn, self._watch.level, self._page.health)
        if self._watch.gateway is not None:
            self._watch.gateway.start(run.terms.name, process)

    def cut(self) -> None:
        """Another level begins on this worker: its master's tells itself by the feed."""
        if self._watch is not None:
            self._watch.sampler.cut()

    def stop(self) -> None:
        """The run has ended; its figures stay on the page."""
        watch, self._watch = self._watch, None
        if watch is None:
            return
        watch.sampler.close()
        self._feed.unsubscribe(watch.page.turn, watch.level, self._page.health)
        self._page.rest()
        if watch.gateway is not None:
            watch.gateway.stop()

    def close(self) -> None:
        """The process ends."""
        if self._targets is not None:
            self._targets.close()

    def _serve(self, options: MetricsOptions) -> None:
        """Traffic goes on where no page can be served."""
        if options.port is None or self._server is not None:
            return
        runner = self._environment.runner
        is_worker = isinstance(runner, WorkerRunner)
        pages = None if is_worker else self._pages
        try:
            self._server = PageServer(options.host, options.port, self._page.pieces, pages)
        except OSError as error:
            if not is_worker and error.errno != errno.EADDRINUSE:
                raise OptionError(
                    f"--metrics-host {options.host!r} --metrics-port {options.port}: {error}; "
                    "accepted: an address of this machine, and a port that may be opened"
                ) from error
            logger.warning(
                "--metrics-host %s --metrics-port %d: %s; traffic goes on without a page",
                *(options.host, options.port, error),
            )
            return
        towards = runner.master_host if isinstance(runner, WorkerRunner) else "localhost"
        self.address = reachable(options.host, self._server.port, towards)
        logger.info("metrics: http://%s/metrics", self.address)
        if options.targets is not None and not is_worker:
            self._targets = TargetsFile(options.targets, self._pages)

    def _pages(self) -> list[str]:
        own = [] if self.address is None else [self.address]
        return own + ([] if self._link is None else self._link.pages())

    def _gateway(self, options: MetricsOptions) -> Pushgateway | None:
        """One for each address, so that its failures add up over runs."""
        if options.pushgateway is None:
            return None
        if options.pushgateway not in self._gateways:
            self._gateways[options.pushgateway] = Pushgateway(
                options.pushgateway, self._page.pieces, delete=options.pushgateway_delete
            )
        return self._gateways[options.pushgateway]

    def _links(self) -> Links:
        return Links(
            workers=self._workers(),
            push_failures=self._push_failures(),
            master_silent_s=self._master_silent_s(),
        )

    def _master_silent_s(self) -> float | None:
        runner = self._environment.runner
        heard_at = getattr(runner, "last_heartbeat_timestamp", None)  # of a worker that heard one
        return None if heard_at is None else max(0.0, time.time() - heard_at)

    def _push_failures(self) -> int | None:
        if not self._gateways:
            return None
        failures: int = sum(gateway.failures for gateway in self._gateways.values())
        return failures

    def _workers(self) -> Workers | None:
        runner = self._environment.runner
        if self._link is None or not isinstance(runner, MasterRunner):
            return None
        by_state = {state: len(getattr(runner.clients, state)) for state in _STATES}
        return Workers(
            by_state=by_state,
            lost=self._link.workers_lost,
            without_page=self._link.without_page(),
            refused_records=self._link.refused_records,
        )

    def _process(self) -> str:
        runner = self._environment.runner
        if isinstance(runner, WorkerRunner):
            return f"worker-{runner.worker_index}"
        return "master" if isinstance(runner, MasterRunner) else "local"

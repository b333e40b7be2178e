"""A run's page to a Pushgateway, for runs too short to be scraped: grouped by run and process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from http.client import HTTPException
from urllib.parse import quote

import gevent
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, default_handler

logger = logging.getLogger("tokenswarm")

EVERY_WALL_S = 10.0
LIMIT_S = 5.0  # guess; the end of a run waits for one push at most
JOB = "tokenswarm"


class Pushgateway:
    """Pushes while a run is on. A failure is counted and said once; traffic and hub go on, for
    gevent has patched what `prometheus_client` sends with."""

    def __init__(
        self,
        url: str,
        page: Callable[[], Iterable[str]],
        *,
        delete: bool,
        every_wall_s: float = EVERY_WALL_S,
        limit_s: float = LIMIT_S,
    ) -> None:
        """delete: the run's group goes away at its end; limit_s: of one push."""
        self._url = url.rstrip("/")
        self._page = page
        self._delete = delete
        self._every_wall_s = every_wall_s
        self._limit_s = limit_s
        self.failures = 0
        self._down = False
        self._group = ""
        self._greenlet: gevent.Greenlet | None = None

    def start(self, run: str, process: str) -> None:
        labels = f"run/{quote(run, safe='')}/process/{process}"
        self._group = f"{self._url}/metrics/job/{JOB}/{labels}"
        self._greenlet = gevent.spawn(self._keep_pushing)

    def stop(self) -> None:
        """A last push; or none, and the group is deleted."""
        if self._greenlet is None:
            return
        self._greenlet.kill()
        self._greenlet = None
        if self._delete:
            self._send("DELETE", b"")
        else:
            self._push()

    def _keep_pushing(self) -> None:
        while True:
            self._push()
            gevent.sleep(self._every_wall_s)

    def _push(self) -> None:
        self._send("PUT", "".join(self._page()).encode())

    def _send(self, method: str, page: bytes) -> None:
        headers = [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)]
        late = TimeoutError(f"no answer within {self._limit_s:g} s")
        try:
            with gevent.Timeout(self._limit_s, late):
                default_handler(self._group, method, self._limit_s, headers, page)()
        except (OSError, HTTPException) as error:
            self.failures += 1
            if not self._down:
                logger.warning("metrics: push to %s failed: %s; traffic goes on", self._url, error)
            self._down = True
        else:
            if self._down:
                logger.warning("metrics: pushes to %s succeed again", self._url)
            self._down = False

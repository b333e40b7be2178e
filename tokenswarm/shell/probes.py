"""Probes: the servers' own metrics pages, read on the run's clock and kept beside its ledger.

By the master, or a process alone. A page that hangs, is huge or cannot be read costs the traffic
nothing: each look has a time-out and a size limit, and is parsed outside the hub.
"""

from __future__ import annotations

import logging
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path

import gevent
from gevent.event import Event

from tokenswarm.measure.books import ENGINES, Page, Reading, SeriesWriter, read_page

logger = logging.getLogger("tokenswarm")

EVERY_WALL_S = 5.0  # guess: a restart between two looks loses no more counts than this
TIMEOUT_S = 3.0  # of a whole look; guess: a page of vLLM takes 10 ms
MAX_BYTES = 8 * 1024 * 1024  # guess: vLLM's page with 39 metrics has 0.1 MB


class ProbeError(Exception):
    """A page that could not be read: why, without its URL."""


class Probes:
    """Reads every page at its making, every EVERY_WALL_S, and at its close."""

    def __init__(
        self,
        urls: Sequence[str],
        folder: Path,
        now_s: Callable[[], float],
        tls: ssl.SSLContext | None,
    ) -> None:
        """folder: the run's, where the series goes; now_s: the run's clock. Raises FileExistsError
        where there is one already."""
        self._urls = urls
        self._now_s = now_s
        # No proxy: pages are asked from where the traffic comes from, by the same way.
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
        )
        self._said: set[str] = set()  # URLs whose problem has been told
        self._writer = SeriesWriter(folder)
        self._closing = Event()
        self._look()
        self._looking = gevent.spawn(self._look_on)

    def close(self) -> None:
        self._closing.set()
        self._looking.join()  # a look that is on ends within its time-out
        self._look()
        self._writer.close()

    def _look_on(self) -> None:
        while not self._closing.wait(EVERY_WALL_S):
            self._look()

    def _look(self) -> None:
        gevent.joinall([gevent.spawn(self._read, url) for url in self._urls])

    def _read(self, url: str) -> None:
        try:
            with gevent.Timeout(TIMEOUT_S, ProbeError(f"no answer within {TIMEOUT_S:g} s")):
                text = self._fetch(url)
                page = gevent.get_hub().threadpool.apply(_parsed, (text,))
        except ProbeError as error:
            page, problem = None, str(error)
        else:
            problem = "" if isinstance(page, Page) else page
        if problem and url not in self._said:
            self._said.add(url)
            logger.warning("--metrics-url %s: %s", url, problem)
        found = page if isinstance(page, Page) else None
        self._writer.write(
            Reading(
                url=url,
                at_s=self._now_s(),
                engine=found.engine if found else None,
                values=found.values if found else {},
                problem=problem,
            )
        )

    def _fetch(self, url: str) -> str:
        try:
            with self._opener.open(url, timeout=TIMEOUT_S) as answer:
                body: bytes = answer.read(MAX_BYTES + 1)
        except (OSError, HTTPException, urllib.error.URLError, ValueError) as error:
            raise ProbeError(f"{type(error).__name__}: {error}") from error
        if len(body) > MAX_BYTES:
            raise ProbeError(f"larger than {MAX_BYTES // 1024 // 1024} MiB")
        return body.decode("utf-8", "replace")


def _parsed(text: str) -> Page | str:
    """Why not, where it cannot be: gevent's threads print a traceback of what they raise."""
    try:
        page = read_page(text)
    except ValueError as error:
        return f"a line of the page cannot be read: {error}"
    names = ", ".join(engine.name for engine in ENGINES)
    return page or f"no metric of a known engine is on the page; known are {names}"

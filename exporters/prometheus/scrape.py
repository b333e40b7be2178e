"""A process's page over HTTP for Prometheus to fetch, and where all the pages are.

/metrics   this process's page
/sd        on a master and in a process alone: the addresses of all pages, as Prometheus' HTTP
           service discovery reads them
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import gevent
import orjson
from gevent.pywsgi import WSGIServer
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from workload.whole_file import replace_file

logger = logging.getLogger("tokenswarm")

# Processes on one machine ask for the same port and take the next ones.
PORTS_TRIED = 100
LIST_EVERY_S = 2.0  # guess: Prometheus' own default for HTTP discovery is a minute
_WILDCARDS = {"", "0.0.0.0", "::"}

Pages = Callable[[], list[str]]


class PageServer:
    """Serves from its making on. Raises OSError where no port is free, or the host is not ours."""

    def __init__(
        self,
        host: str,
        port: int,
        page: Callable[[], Iterable[str]],
        pages: Pages | None,
        *,
        ports_tried: int = PORTS_TRIED,
    ) -> None:
        """port: this one or the next that is free; 0: any. pages: for /sd, None: not served."""
        self._host = host
        self._page = page
        self._pages = pages
        candidates = range(port, port + ports_tried) if port else (0,)
        self._server = _listening(host, candidates, self._answer)
        self.port: int = self._server.server_port

    def close(self) -> None:
        self._server.stop()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method not in ("GET", "HEAD"):
            start("405 Method Not Allowed", [("Content-Type", "text/plain"), ("Allow", "GET")])
            return [b"GET only\n"]
        if path == "/metrics":
            start("200 OK", [("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)])
            return [piece.encode() for piece in self._page()]
        if path == "/sd" and self._pages is not None:
            start("200 OK", [("Content-Type", "application/json")])
            return [discovery(self._listed(self._pages(), environ.get("HTTP_HOST")))]
        start("404 Not Found", [("Content-Type", "text/plain")])
        return [b"/metrics\n"]

    def _listed(self, pages: list[str], asked: str | None) -> list[str]:
        """The own page is the first. A server on every interface cannot know by which address it
        is reached, but who asks for the list has reached it: by the name in the Host header."""
        if asked is None or self._host not in _WILDCARDS:
            return pages
        return [asked, *pages[1:]]


def _listening(host: str, ports: Sequence[int], answer: Callable[..., Any]) -> WSGIServer:
    for port in ports:
        server = WSGIServer((host, port), answer, log=None)
        try:
            server.start()
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        if port != ports[0]:
            logger.info("metrics: port %d is in use, on %d instead", ports[0], port)
        return server
    raise OSError(errno.EADDRINUSE, f"no free port from {ports[0]} to {ports[-1]}")


def reachable(host: str, port: int, towards: str) -> str:
    """host:port as another machine reaches it: a wildcard host becomes the address of the
    interface that leads `towards`, or this machine's name where nothing does."""
    if host in _WILDCARDS:
        host = _own_address(towards)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _own_address(towards: str) -> str:
    try:
        family, _, _, _, address = socket.getaddrinfo(towards, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(address)  # sends nothing
            return str(probe.getsockname()[0])
    except OSError:
        return socket.gethostname()


def discovery(pages: list[str]) -> bytes:
    """The addresses in the form of Prometheus' file and HTTP service discovery."""
    return orjson.dumps([{"targets": pages, "labels": {}}] if pages else [])


class TargetsFile:
    """Keeps a file for Prometheus' file service discovery up to date, until `close`."""

    def __init__(self, path: Path, pages: Pages, *, every_wall_s: float = LIST_EVERY_S) -> None:
        self._path = path
        self._every_wall_s = every_wall_s
        self._pages = pages
        self._written: bytes | None = None
        self._greenlet = gevent.spawn(self._keep)

    def close(self) -> None:
        self._greenlet.kill()
        self._write(discovery([]))

    def _keep(self) -> None:
        while True:
            self._write(discovery(self._pages()))
            gevent.sleep(self._every_wall_s)

    def _write(self, listed: bytes) -> None:
        if listed == self._written:
            return
        try:
            replace_file(self._path, listed)  # Prometheus never reads half a file
        except OSError as error:
            logger.warning("metrics: --metrics-targets %s: %s; traffic goes on", self._path, error)
        self._written = listed

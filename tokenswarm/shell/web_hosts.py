"""Web hosts: by which names the web UI is reached, and where its form may point the traffic.

A page of somebody else's can give its own name this machine's address (DNS rebinding): its requests
then come with that name as Host and with an Origin that fits it. And a form that points the traffic
somewhere sends the API key there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from tokenswarm.shell.options import OptionError

_LOOPBACK = "localhost"


def is_reached_as(host: str, names: Iterable[str]) -> bool:
    """host: the header of a request. Loopback, one of the names, or any address: an address in
    the browser's bar is no name that could be rebound."""
    name = _hostname(f"//{host}")
    return name is not None and (name in {_LOOPBACK, *names} or _address(name) is not None)


def require_allowed(host: str, started_with: str | None, allowed: Iterable[str]) -> None:
    """host: of a form. Raises OptionError where it is neither loopback nor the host and port that
    the process was started with, nor an allowed one: "name" (at any port) or "name:port"."""
    name, wanted = _hostname(host), {each.lower() for each in allowed}
    address = None if name is None else _address(name)
    if name == _LOOPBACK or (address is not None and address.is_loopback):
        return
    if started_with is not None and _place(host) == _place(started_with):
        return
    if name is None or not wanted & {name, urlsplit(host).netloc.lower()}:
        accepted = ", ".join(filter(None, (started_with, "loopback addresses", *sorted(wanted))))
        raise OptionError(
            f"host {host!r}: the form may not point traffic, and the key, there; accepted: "
            f"{accepted}, and what --allow-hosts names on the command line"
        )


def names(text: str) -> tuple[str, ...]:
    """Of an option: comma-separated."""
    return tuple(name.strip().lower() for name in text.split(",") if name.strip())


def without_cors(wsgi: Callable[..., Any]) -> Callable[..., Any]:
    """The application without the headers by which Locust lets every site's pages read ours."""

    def answer(environ: Any, start_response: Callable[..., Any]) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            kept = [each for each in headers if not each[0].lower().startswith("access-control-")]
            return start_response(status, kept, *rest)

        return wsgi(environ, start)

    return answer


def _hostname(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _place(url: str) -> tuple[str, str | None, int | None] | None:
    """Scheme, name and port; None where it has none."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port
    except ValueError:
        return None


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None

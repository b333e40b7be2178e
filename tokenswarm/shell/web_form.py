"""The web UI's start form is refused like the command line: before anything starts.

Locust's /swarm sets every option that a POST names, whether the form shows it or not: here it takes
the form's own fields. And Locust takes a POST from any page that a browser has open, here from its
own pages alone.
"""

from __future__ import annotations

from locust.env import Environment

import argparse
import socket
from collections.abc import Callable, Mapping, Set
from urllib.parse import urlsplit

from flask import Response, jsonify, request

from tokenswarm.shell import web_hosts
from tokenswarm.shell.options import OptionError
from tokenswarm.shell.start_form import SLOS

# Of the form, beside the options that it shows: locust/web.py, swarm().
_STOCK_FIELDS = frozenset(
    ("user_count", "spawn_rate", "host", "run_time", "profile", "user_classes", "shape_class", SLOS)
)


def install(
    environment: Environment,
    refuse: Callable[[argparse.Namespace, str], None],
    started_with: str | None,
) -> None:
    """started_with: the host that the process was started with.

    Answers a start that `refuse(options, host)` refuses, by raising ValueError or RuntimeError,
    with the reason. Locust would answer "Swarming started" and fail behind the page. No route takes
    a POST from another site's page, answers under a name that is not ours, or lets other sites'
    pages read it."""
    web_ui = environment.web_ui
    if web_ui is None or web_ui.app is None:
        return

    def keep_to_own_pages() -> tuple[Response, int] | None:
        origin = request.headers.get("Origin")
        if request.method != "POST" or is_own(origin, request.host):
            return None
        message = f"tokenswarm: from {origin!r}: accepted are the pages at {request.host}"
        return jsonify({"success": False, "message": message}), 403

    options = environment.parsed_options
    assert options is not None
    reached_as = (web_ui.host, *web_hosts.names(options.web_allowed_host))
    allowed = web_hosts.names(options.allow_hosts)

    def keep_to_own_names() -> tuple[Response, int] | None:
        if web_hosts.is_reached_as(request.host, reached_as):
            return None
        message = (
            f"tokenswarm: Host {request.host!r}: accepted are addresses, localhost and what "
            "--web-allowed-host names"
        )
        return jsonify({"success": False, "message": message}), 403

    def check() -> Response | None:
        if request.endpoint != "locust.swarm":
            return None
        host = request.form.get("host") or environment.host or ""
        try:
            require_fields(
                request.form, _STOCK_FIELDS | web_ui.template_args["extra_options"].keys()
            )
            assert environment.parsed_options is not None
            filled_in = _filled_in(environment.parsed_options, request.form)
            web_hosts.require_allowed(host, started_with, allowed)
            refuse(filled_in, host)
            environment.parsed_options.slo = filled_in.slo
        except (ValueError, RuntimeError) as error:
            return jsonify({"success": False, "message": f"tokenswarm: {error}", "host": host})
        return None

    web_ui.app.before_request(keep_to_own_names)
    web_ui.app.before_request(keep_to_own_pages)
    web_ui.app.before_request(check)
    web_ui.app.wsgi_app = web_hosts.without_cors(web_ui.app.wsgi_app)  # type: ignore[method-assign]


def require_free_port(host: str, port: int) -> None:
    """host: "" for all interfaces. Raises OptionError where Locust could not listen there, which it
    would say in tracebacks."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise OptionError(
            f"--web-host {host or '*'} --web-port {port}: {error.strerror or error}; accepted: an "
            "address of this machine with a free port"
        ) from None


def is_own(origin: str | None, host: str) -> bool:
    """origin: of the page that sends a POST, as every browser says it; None: no browser. Another
    site's page could start runs with the key of whoever visits it."""
    return origin is None or urlsplit(origin).netloc == host


def require_fields(form: Mapping[str, str], fields: Set[str]) -> None:
    """Raises OptionError where the form holds a field that it does not offer."""
    if strange := sorted(form.keys() - fields):
        raise OptionError(
            f"{strange[0]}: not a field of the start form; accepted on the command line"
        )


def _filled_in(parsed: argparse.Namespace, form: Mapping[str, str]) -> argparse.Namespace:
    """The options as Locust will have them: form values in the type that the option has now."""
    options = argparse.Namespace(**vars(parsed))
    for name, text in form.items():
        now = getattr(options, name, None)
        if isinstance(now, bool):
            setattr(options, name, text == "true")
        elif isinstance(now, int | float):
            try:
                setattr(options, name, type(now)(text))
            except ValueError:
                raise OptionError(f"{name} {text!r}: accepted are numbers") from None
        elif now is None or isinstance(now, str):
            setattr(options, name, text)
    if SLOS in form:
        options.slo = [text.strip() for text in form[SLOS].split(",") if text.strip()]
    return options

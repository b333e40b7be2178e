"""The web UI's start form is refused like the command line: before anything starts.

Locust's /swarm sets every option that a POST names, whether the form shows it or not, and takes a
POST from any page that a browser has open. Here it takes the form's own fields from its own page.
"""

from __future__ import annotations

from locust.env import Environment

import argparse
from collections.abc import Callable, Mapping, Set
from urllib.parse import urlsplit

from flask import Response, jsonify, request

from locustfiles._options import OptionError

# Of the form, beside the options that it shows: locust/web.py, swarm().
_STOCK_FIELDS = frozenset(
    ("user_count", "spawn_rate", "host", "run_time", "profile", "user_classes", "shape_class")
)


def install(environment: Environment, refuse: Callable[[argparse.Namespace, str], None]) -> None:
    """Answers a start that `refuse(options, host)` refuses, by raising ValueError or RuntimeError,
    with the reason. Locust would answer "Swarming started" and fail behind the page."""
    web_ui = environment.web_ui
    if web_ui is None or web_ui.app is None:
        return

    def check() -> Response | None:
        if request.endpoint != "locust.swarm":
            return None
        host = request.form.get("host") or environment.host or ""
        try:
            require_own_page(request.headers.get("Origin"), request.host)
            require_fields(
                request.form, _STOCK_FIELDS | web_ui.template_args["extra_options"].keys()
            )
            assert environment.parsed_options is not None
            refuse(_filled_in(environment.parsed_options, request.form), host)
        except (ValueError, RuntimeError) as error:
            return jsonify({"success": False, "message": f"tokenswarm: {error}", "host": host})
        return None

    web_ui.app.before_request(check)


def require_own_page(origin: str | None, host: str) -> None:
    """origin: of the page that sends the form, as every browser says it; None where none does.
    Raises OptionError where that is another site: it would start runs with the visitor's key."""
    if origin is not None and urlsplit(origin).netloc != host:
        raise OptionError(f"a start from {origin!r}: accepted is the page at {host}")


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
    return options

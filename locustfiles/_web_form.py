"""The web UI's start form is refused like the command line: before anything starts."""

from __future__ import annotations

from locust.env import Environment

import argparse
from collections.abc import Callable, Mapping

from flask import Response, jsonify, request

from locustfiles._options import OptionError


def install(environment: Environment, refuse: Callable[[argparse.Namespace, str], None]) -> None:
    """Answers a start that `refuse(options, host)` refuses, by raising ValueError or RuntimeError,
    with the reason. Locust would answer "Swarming started" and fail behind the page."""
    if environment.web_ui is None or environment.web_ui.app is None:
        return

    def check() -> Response | None:
        if request.endpoint != "locust.swarm":
            return None
        host = request.form.get("host") or environment.host or ""
        try:
            assert environment.parsed_options is not None
            refuse(_filled_in(environment.parsed_options, request.form), host)
        except (ValueError, RuntimeError) as error:
            return jsonify({"success": False, "message": f"tokenswarm: {error}", "host": host})
        return None

    environment.web_ui.app.before_request(check)


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

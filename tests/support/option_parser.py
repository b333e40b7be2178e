"""The parser that Locust's is built on, without Locust, whose import patches the process."""

from __future__ import annotations

from typing import Any

import configargparse


class OptionParser(configargparse.ArgParser):  # type: ignore[misc]
    """Takes Locust's own setting of an argument, which concerns the web form alone."""

    def add_argument(self, *names: str, include_in_web_ui: bool = True, **settings: Any) -> Any:
        return super().add_argument(*names, **settings)

"""Templating: where the pages' templates are, and that every text in them is text."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader


def templates() -> Environment:
    return Environment(
        loader=PackageLoader("tokenswarm.report.files"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )

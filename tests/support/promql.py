"""PromQL of dashboards as Prometheus can execute it, and the series in it."""

from __future__ import annotations

from collections.abc import Iterator

import promql_parser
from promql_parser import VectorSelector


def executable(expr: str, window: str = "1m") -> str:
    """With everything chosen, as Grafana puts it in for "All"."""
    choices = {"$__rate_interval": "8s", "$window": window, "$target": ".*", "$profile": ".*"}
    for variable, value in choices.items():
        expr = expr.replace(variable, value)
    return expr


def series(expr: str) -> set[str]:
    """Names of the series that an expression reads."""
    return set(_names(promql_parser.parse(executable(expr))))


def _names(node: object) -> Iterator[str]:
    if isinstance(node, VectorSelector):
        assert node.name, node
        yield node.name
    for child in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (below := getattr(node, child, None)) is not None:
            yield from _names(below)
    for below in getattr(node, "args", ()):
        yield from _names(below)

"""PromQL of dashboards as Prometheus can execute it, and the series in it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import promql_parser
from promql_parser import VectorSelector

VARIABLE = re.compile(r"\$(\w+)")


def executable(expr: str, window: str = "1m", **chosen: str | tuple[str, ...]) -> str:
    """As Grafana fills it in: chosen values of variables, "All" (`.*`) for those not named."""

    def value(variable: re.Match[str]) -> str:
        name = variable[1]
        if name in ("window", "__rate_interval"):
            return window
        picked = chosen.get(name)
        if picked is None:
            return ".*"
        # A value of a variable with several is a regular expression, inside of a PromQL string.
        picked = (picked,) if isinstance(picked, str) else picked
        escaped = [re.escape(text).replace("\\", "\\\\") for text in picked]
        return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"

    return VARIABLE.sub(value, expr)


def series(expr: str) -> set[str]:
    """Names of the series that an expression reads."""
    return {str(selector.name) for selector in selectors(executable(expr))}


def selectors(expr: str) -> Iterator[VectorSelector]:
    """The selectors of an expression, each with a name; variables may stand in its strings."""
    yield from _selectors(promql_parser.parse(_RANGE.sub("[1m]", expr)))


_RANGE = re.compile(r"\[\$\w+\]")


def _selectors(node: object) -> Iterator[VectorSelector]:
    if isinstance(node, VectorSelector):
        assert node.name, node
        yield node
    for child in ("expr", "lhs", "rhs", "vector_selector", "param"):
        if (below := getattr(node, child, None)) is not None:
            yield from _selectors(below)
    for below in getattr(node, "args", ()):
        yield from _selectors(below)

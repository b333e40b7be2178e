"""What a running Prometheus answers."""

from __future__ import annotations

import math
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import promql_parser
from promql_parser import BinaryExpr, ParenExpr

_COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


@dataclass(frozen=True, slots=True)
class Prometheus:
    """The HTTP API. A refused expression raises AssertionError with Prometheus' reason."""

    url: str

    def values(self, expr: str, at: float | None = None) -> list[float]:
        """Of an instant query, one a series."""
        asked = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        answer = self.ask("query", **asked)
        if answer["resultType"] == "scalar":
            return [float(answer["result"][1])]
        return [float(series["value"][1]) for series in answer["result"]]

    def by_label(self, expr: str, label: str, at: float | None = None) -> dict[str, float]:
        """Of an instant query whose series differ in one label."""
        asked = {"query": expr} | ({} if at is None else {"time": f"{at:.3f}"})
        result = self.ask("query", **asked)["result"]
        found = {series["metric"].get(label, ""): float(series["value"][1]) for series in result}
        assert len(found) == len(result), result
        return found

    def value(self, expr: str, at: float | None = None) -> float:
        """The one value of an expression that has one."""
        (value,) = self.values(expr, at)
        return value

    def samples(self, expr: str, start: float, end: float, step_s: float = 1.0) -> list[float]:
        """Every finite sample of a range query, of all series."""
        answer = self.ask(
            "query_range", query=expr, start=f"{start:.3f}", end=f"{end:.3f}", step=f"{step_s:g}"
        )
        values = (float(v) for series in answer["result"] for _, v in series["values"])
        return [value for value in values if math.isfinite(value)]

    def ask(self, path: str, **asked: str) -> Any:
        body = urllib.parse.urlencode(asked).encode() if asked else None
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}", body, timeout=10) as response:
                answer = orjson.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{asked}: {error.read().decode()}") from None
        assert answer["status"] == "success", answer
        return answer["data"]


def compared(expr: str) -> Iterator[str]:
    """What an alert compares with its limit: it must have data while the alert is silent."""
    yield from _compared(promql_parser.parse(expr))


def _compared(node: Any) -> Iterator[str]:
    if isinstance(node, ParenExpr):
        yield from _compared(node.expr)
    elif isinstance(node, BinaryExpr):
        if str(node.op) in _COMPARISONS:
            yield node.lhs.prettify()
        else:
            yield from _compared(node.lhs)
            yield from _compared(node.rhs)

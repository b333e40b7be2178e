"""OpenTelemetry GenAI spans, as OTLP's JSON has them (one export a line) or one span a line.

Read of each span with gen_ai.usage.input_tokens: start and end, output_tokens, cache_read
.input_tokens, and the conversation (gen_ai.conversation.id, else the trace). Calls below an
`invoke_agent` span that is itself below another are a sub-agent's. Texts are not read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from workload.traces.fields import Fields, text
from workload.traces.gather import Gatherer
from workload.traces.logged import LoggedRequest, add
from workload.traces.prefixes import Prefixes
from workload.traces.turns import TraceError

FORMAT = "otel"
_INPUT = "gen_ai.usage.input_tokens"
_MAX_DEPTH = 1_000  # guess: of spans below one another


def is_spans(first: Fields) -> bool:
    return "resourceSpans" in first or ("spanId" in first and "attributes" in first)


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all calls of models. Raises TraceError."""
    spans: dict[str, tuple[str, Fields, dict[str, Any]]] = {}
    for lines in files:
        for where, line in lines:
            for span in _spans(line):
                attributes = _attributes(where, span)
                spans[text(where, span, "spanId")] = where, span, attributes
    add(
        gatherer,
        [
            _request(where, span, attributes, spans)
            for where, span, attributes in spans.values()
            if _INPUT in attributes and attributes.get("gen_ai.operation.name") != "invoke_agent"
        ],
    )


def _spans(line: Fields) -> Iterator[Fields]:
    if "resourceSpans" not in line:
        yield line
        return
    for resource in line["resourceSpans"]:
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())


def _attributes(where: str, span: Fields) -> dict[str, Any]:
    """OTLP's list of keys and typed values, or a plain object."""
    given = span.get("attributes")
    if isinstance(given, Mapping):
        return dict(given)
    if not isinstance(given, list):
        raise TraceError(f"{where}: attributes = {str(given)[:40]}; accepted: a list or an object")
    found: dict[str, Any] = {}
    for each in given:
        for kind, value in each.get("value", {}).items():
            found[each["key"]] = int(value) if kind == "intValue" else value
    return found


def _request(
    where: str,
    span: Fields,
    attributes: Mapping[str, Any],
    spans: Mapping[str, tuple[str, Fields, dict[str, Any]]],
) -> LoggedRequest:
    trace = text(where, span, "traceId")
    conversation = str(attributes.get("gen_ai.conversation.id") or trace)
    agents = _agents_above(where, span, spans)
    cached = attributes.get("gen_ai.usage.cache_read.input_tokens")
    return LoggedRequest(
        session=".".join([conversation, *agents[1:]]),
        parent=".".join([conversation, *agents[1:-1]]) if len(agents) > 1 else None,
        sent_at_s=_seconds(where, span, "startTimeUnixNano"),
        ended_at_s=_seconds(where, span, "endTimeUnixNano"),
        prompt_tokens=_count(where, attributes, _INPUT),
        output_tokens=_count(where, attributes, "gen_ai.usage.output_tokens"),
        cached_tokens=None if cached is None else int(cached),
        kind=None,
    )


def _agents_above(
    where: str, span: Fields, spans: Mapping[str, tuple[str, Fields, dict[str, Any]]]
) -> list[str]:
    """Span ids of the agents that the call is below, outermost first. Raises TraceError where spans
    are below one another in a circle."""
    agents: list[str] = []
    above = span.get("parentSpanId")
    for _ in range(_MAX_DEPTH):
        if not above or above not in spans:
            return agents[::-1]
        _, parent, attributes = spans[above]
        if attributes.get("gen_ai.operation.name") == "invoke_agent":
            agents.append(above)
        above = parent.get("parentSpanId")
    raise TraceError(
        f"{where}: span {span.get('spanId')} has more than {_MAX_DEPTH} spans above it; "
        "accepted: a tree"
    )


def _seconds(where: str, span: Fields, key: str) -> float:
    value = span.get(key)
    if not str(value).isdecimal():
        raise TraceError(f"{where}: {key} = {value!r}; accepted: nanoseconds since 1970")
    return int(str(value)) / 1e9


def _count(where: str, attributes: Mapping[str, Any], key: str) -> int:
    value = attributes.get(key)
    if not str(value).isdecimal():
        raise TraceError(f"{where}: {key} = {value!r}; accepted: a whole number")
    return int(str(value))

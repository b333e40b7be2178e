"""Plain: tokenswarm's own form of a trace, JSON lines, one request a line (docs/replay.md).

    {"session": "a", "at_s": 0, "prompt_tokens": 21000, "output_tokens": 300}
    {"session": "a", "at_s": 9.5, "prompt_tokens": 22100, "output_tokens": 80, "kept_tokens": 21000}
    {"session": "a.1", "parent": "a", "at_s": 12, "prompt_tokens": 9000, "output_tokens": 50}

Optional: kept_tokens (leading tokens that are those of the session's last prompt; 0), or hash_ids
with block_tokens in its place; service_s (until the answer's end), gap_s (pause before the
request), kind ("tool" or "user"), parent (whose sub-agent the session is). Sessions may lie side by
side; times are seconds on one clock.
"""

from __future__ import annotations

from collections.abc import Iterable

from workload.traces.fields import Fields, integer, integers, number, optional_number, text
from workload.traces.gather import Blocks, Gatherer, Request
from workload.traces.prefixes import Prefixes
from workload.traces.turns import TraceError

FORMAT = "plain"
_KINDS = ("tool", "user")


def is_plain(first: Fields) -> bool:
    return "session" in first and "prompt_tokens" in first


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all requests; the names of a file's sessions are its own. Raises TraceError."""
    for lines in files:
        numbers: dict[str, int] = {}
        for where, fields in lines:
            session = text(where, fields, "session")
            parent = fields.get("parent")
            if session not in numbers:
                numbers[session] = _opened(gatherer, where, session, parent, numbers, everyone)
            gatherer.add(numbers[session], _request(where, fields))


def _opened(
    gatherer: Gatherer,
    where: str,
    session: str,
    parent: object,
    numbers: dict[str, int],
    everyone: Prefixes,
) -> int:
    if parent is None:
        return gatherer.open(session, everyone)
    # A parent has sent before its sub-agent does, so no session can be above itself.
    if not isinstance(parent, str) or parent not in numbers:
        raise TraceError(
            f"{where}: parent = {parent!r} of session {session!r}; accepted: a session with a "
            "request further up in the file"
        )
    return gatherer.open(session, everyone, parent=numbers[parent])


def _request(where: str, fields: Fields) -> Request:
    kind = fields.get("kind")
    if kind is not None and kind not in _KINDS:
        raise TraceError(f"{where}: kind = {kind!r}; accepted: {' or '.join(_KINDS)}")
    return Request(
        at_s=number(where, fields, "at_s"),
        prompt_tokens=integer(where, fields, "prompt_tokens"),
        output_tokens=integer(where, fields, "output_tokens"),
        content=_content(where, fields),
        service_s=optional_number(where, fields, "service_s"),
        gap_s=optional_number(where, fields, "gap_s"),
        kind=kind,
    )


def _content(where: str, fields: Fields) -> Blocks | int:
    if "hash_ids" not in fields:
        return integer(where, fields, "kept_tokens") if "kept_tokens" in fields else 0
    if "kept_tokens" in fields:
        raise TraceError(f"{where}: both hash_ids and kept_tokens; accepted: one of them")
    return Blocks(
        ids=integers(where, fields, "hash_ids"),
        size_tokens=integer(where, fields, "block_tokens"),
    )

"""WEKA: sessions of Claude Code as kv-cache-tester publishes them, one JSON object a file.

    {"id", "block_size", "tool_tokens", "system_tokens", "requests": [
        {"t", "in", "out", "hash_ids", "api_time"?, "input_types"?},
        {"type": "subagent", "t", "duration_ms", "requests": [...]}]}

Times are seconds since the session's beginning, a sub-agent's since its own; its `t` is when it
ended. Hashes are of one session ("hash_id_scope": "local") or of all ("global").
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from workload.traces.fields import Fields, integer, integers, items, number, optional_number
from workload.traces.gather import Blocks, Gatherer, Request
from workload.traces.prefixes import Prefixes

FORMAT = "weka"


def is_weka(first: Fields) -> bool:
    return "requests" in first and "block_size" in first


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds the sessions of all files and lines. Raises TraceError."""
    for where, session in chain.from_iterable(files):
        scope = session.get("hash_id_scope", "local")
        prefixes = everyone if scope == "global" else Prefixes()
        reader = _Reader(gatherer, prefixes, integer(where, session, "block_size"))
        name = session.get("id")
        reader.session(name if isinstance(name, str) else where, session, parent=None, begun_s=0.0)


class _Reader:
    def __init__(self, gatherer: Gatherer, prefixes: Prefixes, block_tokens: int) -> None:
        self._gatherer = gatherer
        self._prefixes = prefixes
        self._block_tokens = block_tokens

    def session(self, name: str, entry: Fields, *, parent: int | None, begun_s: float) -> None:
        opening = [entry.get(key) for key in ("tool_tokens", "system_tokens")]
        session = self._gatherer.open(
            name,
            self._prefixes,
            parent=parent,
            opening_tokens=sum(n for n in opening if isinstance(n, int)) or None,
        )
        agents = 0
        for n, request in enumerate(items(name, entry, "requests")):
            where = f"{name}, entry {n}"
            if request.get("type") == "subagent":
                took_s = number(where, request, "duration_ms") / 1000
                ended_s = begun_s + number(where, request, "t")
                started_s = max(begun_s, ended_s - took_s)
                self.session(f"{name}.a{agents}", request, parent=session, begun_s=started_s)
                agents += 1
            else:
                self._gatherer.add(session, self._request(where, request, begun_s))

    def _request(self, where: str, request: Fields, begun_s: float) -> Request:
        ids = integers(where, request, "hash_ids")
        return Request(
            at_s=begun_s + number(where, request, "t"),
            prompt_tokens=integer(where, request, "in"),
            output_tokens=integer(where, request, "out"),
            content=Blocks(ids=ids, size_tokens=self._block_tokens),
            service_s=optional_number(where, request, "api_time"),
            kind=_kind(request.get("input_types")),
        )


def _kind(input_types: Sequence[str] | None) -> str | None:
    if not input_types:
        return None
    return "tool" if "tool_result" in input_types else "user"

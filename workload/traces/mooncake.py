"""Mooncake: requests of a service as JSON lines, with hashes of blocks and no text.

    {"timestamp", "input_length", "output_length", "hash_ids"}     ms, blocks of 512 tokens
    {..., "chat_id", "parent_chat_id"}                             s, blocks of 16 (Bailian)

Hashes are of all that stands before a block's end, and of all sessions. Mooncake's own traces name
no sessions: a request that begins with all of an earlier prompt's whole blocks goes on from it.
"""

from __future__ import annotations

from collections.abc import Iterable

from workload.traces.chains import Chains
from workload.traces.fields import Fields, integer, integers, number
from workload.traces.gather import Blocks, Gatherer, Request
from workload.traces.prefixes import Prefixes
from workload.traces.turns import TraceError

FORMAT = "mooncake"
_BLOCK_TOKENS = (512, 16)


def is_mooncake(first: Fields) -> bool:
    return "input_length" in first and "hash_ids" in first


def read(
    gatherer: Gatherer, files: Iterable[Iterable[tuple[str, Fields]]], everyone: Prefixes
) -> None:
    """Adds all requests. Raises TraceError."""
    for lines in files:
        chains, chats = Chains(), dict[int, int]()
        for where, fields in lines:
            request = _request(where, fields)
            assert isinstance(request.content, Blocks)
            ids = request.content.ids
            if "chat_id" in fields:
                session = chats.get(integer(where, fields, "parent_chat_id"))
            else:
                session = chains.session_of(ids)
            if session is None:
                session = gatherer.open(where, everyone)
            gatherer.add(session, request)
            if "chat_id" in fields:
                chats[integer(where, fields, "chat_id")] = session
            else:
                chains.went_on(session, ids, request.prompt_tokens // request.content.size_tokens)


def _request(where: str, fields: Fields) -> Request:
    tokens, ids = integer(where, fields, "input_length"), integers(where, fields, "hash_ids")
    sizes = [size for size in _BLOCK_TOKENS if len(ids) in (tokens // size, -(-tokens // size))]
    if not sizes:
        raise TraceError(
            f"{where}: {len(ids)} hash_ids for an input_length of {tokens}; accepted: one for each "
            f"{' or '.join(map(str, _BLOCK_TOKENS))} tokens"
        )
    unit_s = 1.0 if "chat_id" in fields else 1e-3
    return Request(
        at_s=unit_s * number(where, fields, "timestamp"),
        prompt_tokens=tokens,
        output_tokens=integer(where, fields, "output_length"),
        content=Blocks(ids=ids, size_tokens=sizes[0]),
        kind="user",
    )

"""The start of a request's body: fields of ours and of the user's, encoded once."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import orjson


def encoded_fields(
    ours: Mapping[str, object], extra: Mapping[str, object], taken: Collection[str]
) -> bytes:
    """A JSON object without its closing brace; of equal names the extra field holds. taken: names
    that the dialect writes itself. Raises ValueError for such a name, and for a value that has no
    JSON form."""
    refused = sorted(set(taken).intersection(extra))
    if refused:
        raise ValueError(f"extra request fields {', '.join(refused)} are set by tokenswarm itself")
    try:
        return orjson.dumps({**ours, **extra})[:-1]
    except orjson.JSONEncodeError as error:
        raise ValueError(f"extra request fields {dict(extra)!r}: {error}") from error

"""Headers: what a request says beside its body: fields of the user's own, and whose turn it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

# What a server hands out with an answer and wants back with the session's next request: llm-d's.
ECHOED = ("x-session-token",)
NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
# How the message is framed, and where it goes, is the client's own business.
OWN = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "expect")
    + ("accept-encoding", "upgrade", "te", "trailer")
)
_NOTHING: Mapping[str, str] = MappingProxyType({})
_NOT_IN_IDS = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class HeaderField:
    """One line of every request's head. secrets: parts of the value that are shown nowhere."""

    name: str
    value: str = field(repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)


class Identity:
    """Of one session: the headers that name it, and what its server has handed out to be echoed."""

    def __init__(self, fields: Mapping[str, str] = _NOTHING) -> None:
        self._fields = dict(fields)

    def lines(self) -> bytes:
        return "".join(f"{name}: {value}\r\n" for name, value in self._fields.items()).encode()

    def heard(self, headers: Mapping[str, str]) -> None:
        """headers: of an answer, by name in lower case."""
        for name in ECHOED:
            value = headers.get(name)
            if value and value.isascii() and value.isprintable():
                self._fields[name] = value


def session_id(salt: str, name: str) -> str:
    """A session's name as a header can carry it; salt: what tells this run's from another's."""
    return _NOT_IN_IDS.sub("-", f"{salt}.{name}" if salt else name)

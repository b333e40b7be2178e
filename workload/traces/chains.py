"""Chains: the session that a request goes on with, where the trace names none."""

from __future__ import annotations

from collections.abc import Sequence


class Chains:
    """A request belongs to the session whose last prompt it begins with, whole blocks of it.

    Hashes are of all that stands before a block's end, so one that is found says so of them all.
    """

    def __init__(self) -> None:
        self._sessions: dict[
            int, int
        ] = {}  # by the hash of the last whole block of its last prompt
        self._last: dict[int, int] = {}

    def session_of(self, ids: Sequence[int]) -> int | None:
        """The session with most of these blocks; None: it begins one."""
        for block in reversed(ids):
            if (session := self._sessions.get(block)) is not None:
                return session
        return None

    def went_on(self, session: int, ids: Sequence[int], whole_blocks: int) -> None:
        """The session's last prompt has these blocks now."""
        self._sessions.pop(self._last.pop(session, -1), None)
        if whole_blocks:
            block = ids[whole_blocks - 1]
            self._sessions[block] = session
            self._last[session] = block

"""Waiting for a server that starts: how often it is asked, what is said, when it is given up."""

from __future__ import annotations

import pytest

from tokenswarm.shell.preflight import EndpointError, NotReady
from tokenswarm.shell.server_start import SAY_EVERY_S, TRY_EVERY_S, await_ready


class Server:
    """Ready at a moment of a clock that only sleeping moves."""

    def __init__(self, ready_at_s: float) -> None:
        self.now_s = 0.0
        self.ready_at_s = ready_at_s
        self.looks = 0
        self.said: list[str] = []

    def look(self) -> str:
        self.looks += 1
        if self.now_s < self.ready_at_s:
            raise NotReady("connect: refused")
        return "found"

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def awaited(self, wait_s: float) -> str:
        return await_ready(
            self.look, wait_s, now=lambda: self.now_s, sleep=self.sleep, say=self.said.append
        )


def test_it_is_found_when_it_is_ready_and_the_time_left_is_said_now_and_then():
    server = Server(ready_at_s=59)
    assert server.awaited(600) == "found"
    assert server.now_s == 60 and server.looks == 31
    assert len(server.said) == 60 // (SAY_EVERY_S + TRY_EVERY_S) + 1
    assert server.said[0] == "not ready, 600 s of --wait-ready left: connect: refused"


def test_it_is_given_up_after_the_time_and_not_later():
    server = Server(ready_at_s=1000)
    with pytest.raises(NotReady, match="refused"):
        server.awaited(60)
    assert server.now_s == 60


def test_without_a_time_it_is_asked_once_and_nothing_is_said():
    server = Server(ready_at_s=1)
    with pytest.raises(NotReady):
        server.awaited(0)
    assert (server.looks, server.said) == (1, [])


def test_what_waiting_cannot_mend_is_raised_at_once():
    def look() -> None:
        raise EndpointError("401")

    with pytest.raises(EndpointError, match="401"):
        await_ready(look, 600, sleep=lambda _: pytest.fail("slept"))

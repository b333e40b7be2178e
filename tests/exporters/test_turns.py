"""Turns come from Locust's request event, and from nowhere else in it."""

from __future__ import annotations

from locust.env import Environment

from exporters import turns
from tests.support.records import turn_record
from tokenswarm.measure.record import Level, TurnRecord


def fire(environment: Environment, context: dict) -> None:
    environment.events.request.fire(
        request_type="CHAT",
        name="turn",
        response_time=1.0,
        response_length=1,
        exception=None,
        context=context,
    )


def test_a_turn_in_the_context_reaches_every_subscriber_and_other_requests_none():
    environment = Environment()
    feed = turns.install(environment)
    first: list[TurnRecord] = []
    second: list[TurnRecord] = []
    levels: list[Level] = []
    feed.subscribe(first.append, levels.append)
    feed.subscribe(second.append)
    record, level = turn_record(), Level(index=0, target_tpm=1e6, developers=None, started_at_s=0)
    fire(environment, {"turn": record})
    fire(environment, {})
    feed.level(level)
    assert [record] == first == second
    assert [level] == levels


def test_a_subscription_can_be_taken_back():
    feed = turns.TurnFeed()
    seen: list[object] = []
    feed.subscribe(seen.append, seen.append)
    feed.unsubscribe(seen.append, seen.append)
    feed.turn(turn_record())
    assert seen == []

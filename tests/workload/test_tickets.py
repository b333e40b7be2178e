"""Who gets a ticket: the rule by itself, without a clock."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workload.arrivals import Arrivals, TargetLine
from workload.profiles import SEED, SMALL
from workload.tickets import Due, TicketLine, mean_prompt_tokens, session_tpm

MEAN_TOKENS = 1_000.0
TPM = 600.0


def ticket_line(session_tpm: float = TPM / 2) -> TicketLine[str]:
    line = TargetLine()
    line.set_tpm(0.0, TPM)
    arrivals = Arrivals(line, MEAN_TOKENS, cv=0, rng=np.random.default_rng(1))
    return TicketLine(line, arrivals, session_tpm)


def test_ready_sessions_come_first_then_replacements_then_growth():
    tickets = ticket_line()
    who: Any
    place: Any
    for place, who in (("unstarted", "new"), ("idle", "over"), ("ready", "a"), ("ready", "b")):
        tickets.join(place, who)
    for due_s in (1.0, 2.0, 3.0, 4.0):
        tickets.issue(due_s)
    dealt = tickets.deal()
    assert [who for who, _ in dealt] == ["a", "b", "over", "new"]
    assert [due.at_s for _, due in dealt] == [1.0, 2.0, 3.0, 4.0]


def test_growth_is_in_mid_work_up_to_the_natural_number_and_again_once_one_is_over():
    tickets = ticket_line()  # two are natural
    for who in "abc":
        tickets.join("unstarted", who)
        tickets.issue(0.0)
    assert [due.grows for _, due in tickets.deal()] == [True, True, False]
    for who in "ab":
        tickets.join("idle", who)
    tickets.issue(1.0)
    assert tickets.deal() == [("a", Due(1.0, grows=False))]  # a replacement is never in mid-work


def test_a_ticket_waits_for_someone_and_can_be_given_up():
    tickets = ticket_line()
    tickets.issue(7.0)
    tickets.issue(8.0)
    assert tickets.deal() == []
    tickets.join("ready", "late")
    assert tickets.deal() == [("late", Due(7.0))]
    assert tickets.give_up() == [8.0]
    assert tickets.give_up() == []


def test_who_has_left_gets_nothing():
    tickets = ticket_line()
    tickets.join("ready", "a")
    tickets.leave("ready", "a")
    with pytest.raises(ValueError):
        tickets.leave("ready", "a")
    tickets.issue(0.0)
    assert tickets.deal() == []


def test_a_session_of_profile_seed_sends_100k_tokens_a_minute():
    """88k tokens every 44 s of pause and 8 s of service."""
    assert session_tpm(SEED) == pytest.approx(88_000 * 60 / 52, rel=0.06)
    assert mean_prompt_tokens(SMALL) == pytest.approx(1_800, rel=0.06)

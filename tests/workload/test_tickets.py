"""Who gets a ticket: the rule by itself, without a clock."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.pauses import Pauses, life_of
from workload.arrivals import Arrivals, TargetLine
from workload.life import Due, Life
from workload.profile import Subagents
from workload.profiles import AGENTIC, SEED, SMALL
from workload.rates import developer_tpm, mean_prompt_tokens
from workload.tickets import TicketLine

MEAN_TOKENS = 1_000.0
TPM = 600.0


def developer(name: str, *gaps_s: float) -> Life:
    """Met with these pauses before its turns; a new session has one turn, at once."""
    return life_of(Pauses(name, *gaps_s), Pauses(f"{name}'s next", 0.0))


class Line:
    """Tickets of a rate of which `natural` developers are at work."""

    def __init__(self, natural: int, **pauses_s: float) -> None:
        """pauses_s: the first pause of each developer, who waits under that name."""
        self.rate = TargetLine()
        arrivals = Arrivals(self.rate, MEAN_TOKENS, cv=0, rng=np.random.default_rng(1))
        self.tickets: TicketLine[str] = TicketLine(self.rate, arrivals, TPM)
        self.lives = {name: developer(name, pause, 0.0) for name, pause in pauses_s.items()}
        self.at_work(natural, 0.0)
        for name, life in self.lives.items():
            self.tickets.join(life, name)

    def at_work(self, natural: int, at_s: float) -> None:
        self.rate.set_tpm(at_s, TPM * natural)

    def deal(self, *due_s: float) -> list[tuple[str, Due]]:
        for at_s in due_s:
            self.tickets.issue(at_s)
        return self.tickets.deal()

    def back(self, name: str, ended_at_s: float) -> None:
        """Its turn is over, and it waits for the next."""
        life = self.lives[name]
        life.take(Due(0.0))
        life.end("ok", ended_at_s)
        self.tickets.join(life, name)


def names(dealt: list[tuple[str, Due]]) -> str:
    return "".join(name for name, _ in dealt)


def test_the_natural_number_is_met_when_the_rate_asks_for_it():
    line = Line(2, a=5.0, b=9.0, c=1.0)
    assert line.deal(7.0) == [("a", Due(7.0, early_s=5.0))]
    assert [life.state for life in line.lives.values()] == ["ready", "ready", "unstarted"]
    assert line.lives["b"].ready_at_s == 7.0 + 9.0


def test_the_pause_that_is_over_longest_comes_first_then_the_one_that_ends_next():
    line = Line(4, a=90.0, b=20.0, c=60.0, d=10.0)
    assert line.deal(0.0) == [("d", Due(0.0, early_s=10.0))]  # nobody's is over yet
    assert line.deal(50.0, 51.0, 52.0) == [
        ("b", Due(50.0)),
        ("c", Due(51.0, early_s=9.0)),
        ("a", Due(52.0, early_s=38.0)),
    ]


def test_a_spare_developer_comes_only_when_all_are_in_flight_and_starts_a_new_session():
    line = Line(2, a=5.0, b=9.0, c=1.0, d=1.0)
    dealt = line.deal(0.0, 0.0, 0.0)
    assert names(dealt) == "abc"
    assert [due.fresh for _, due in dealt] == [False, False, True]
    spare = line.lives["c"]
    spare.take(dealt[-1][1])
    assert spare.session.name == "c's next"


def test_a_spare_developer_goes_on_only_when_all_others_are_in_flight():
    line = Line(1, a=5.0, b=0.0)
    assert names(line.deal(0.0, 1.0)) == "ab"
    line.lives["b"].take(Due(1.0, fresh=True))
    line.lives["b"].open()
    line.lives["b"].pause(2.0)
    line.tickets.join(line.lives["b"], "b")
    line.back("a", 50.0)
    assert names(line.deal(3.0)) == "a"  # though b's pause has been over for longer
    assert names(line.deal(4.0)) == "b"


def test_when_the_rate_falls_the_last_to_come_are_spare_and_come_back_with_it():
    line = Line(3, a=30.0, b=20.0, c=10.0, d=0.0)
    assert names(line.deal(0.0)) == "c"
    line.back("c", 0.0)
    line.at_work(1, 1.0)
    assert names(line.deal(2.0)) == "a"
    line.back("a", 2.0)
    line.at_work(3, 3.0)
    assert names(line.deal(4.0)) == "c"  # nobody new: c, whose pause was over at 0


def test_who_has_left_gets_nothing_and_another_takes_its_place():
    line = Line(2, a=5.0, b=9.0, c=1.0, d=1.0)
    assert names(line.deal(0.0)) == "a"
    line.tickets.leave("b")
    with pytest.raises(KeyError):
        line.tickets.leave("b")
    dealt = line.deal(1.0)
    assert names(dealt) == "c" and not dealt[0][1].fresh  # met in b's stead
    line.tickets.leave("d")
    assert line.deal(2.0) == []


def test_one_that_left_in_flight_is_replaced_as_well():
    line = Line(1, a=5.0, b=9.0)
    assert names(line.deal(0.0)) == "a"
    line.tickets.forget(line.lives["a"])
    (dealt,) = line.deal(1.0)
    assert dealt == ("b", Due(1.0, early_s=9.0))


def test_a_sub_agent_is_served_like_a_natural_developer():
    line = Line(1, a=50.0)
    agent = life_of(Pauses("agent", 0.0), agent=True)
    agent.open()
    agent.pause(1.0)
    line.tickets.join(agent, "agent")
    assert names(line.deal(2.0, 3.0)) == "agenta"


def test_a_ticket_waits_for_someone_and_can_be_given_up():
    line = Line(1, a=5.0)
    assert names(line.deal(0.0)) == "a"
    assert line.deal(7.0, 8.0) == []
    assert (line.tickets.untaken, line.tickets.oldest_untaken_s) == (2, 7.0)
    line.back("a", 9.0)
    assert line.tickets.deal() == [("a", Due(7.0, early_s=2.0))]
    assert line.tickets.give_up() == [8.0]
    assert line.tickets.give_up() == []


@given(
    moves=st.lists(
        st.tuples(st.sampled_from(["issue", "back", "rate", "leave"]), st.integers(0, 7)),
        max_size=80,
    )
)
def test_whatever_happens_each_ticket_has_one_taker_and_each_taker_one_ticket(moves):
    line = Line(3, **{name: float(n) for n, name in enumerate("abcdefgh")})
    now_s, issued, taken = 0.0, 0, 0
    waiting = set(line.lives)
    flying: set[str] = set()
    for move, n in moves:
        now_s += 1.0
        name = "abcdefgh"[n]
        if move == "issue":
            line.tickets.issue(now_s)
            issued += 1
        elif move == "rate":
            line.at_work(n, now_s)
        elif move == "leave" and name in waiting:
            line.tickets.leave(name)
            waiting.remove(name)
        elif move == "back" and name in flying:
            flying.remove(name)
            life = line.lives[name] = developer(name, 1.0)
            line.tickets.join(life, name)
            waiting.add(name)
        for who, _due in line.tickets.deal():
            waiting.remove(who)
            flying.add(who)
            taken += 1
        assert not (waiting and line.tickets.untaken)
    assert taken + len(line.tickets.give_up()) == issued


def test_a_developer_of_profile_seed_sends_58k_tokens_a_minute():
    """88k tokens every 83 s of pause (a session begins with a human one) and 8 s of service."""
    assert developer_tpm(SEED) == pytest.approx(88_000 * 60 / 91, rel=0.05)
    assert mean_prompt_tokens(SMALL) == pytest.approx(1_800, rel=0.06)


def test_sub_agents_are_part_of_what_a_developer_sends():
    with_agents = replace(AGENTIC, subagents=Subagents())
    assert developer_tpm(with_agents) > 1.05 * developer_tpm(AGENTIC)

from dataclasses import replace

import numpy as np

from tests.support.records import header, turn_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import UNSENT, Level
from tokenswarm.report.analysis.sent import rows, sent
from tokenswarm.report.analysis.steps import steps
from tokenswarm.report.text.workload import text
from workload.fidelity import of_sample, simulate, workload
from workload.figures import rows as judged
from workload.profiles import AGENTIC, SEED

LEVELS = [
    Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=100.0),
    Level(index=1, target_tpm=2e6, developers=None, started_at_s=100.0, ended_at_s=200.0),
]


def turn(at_s, **changes):
    stamps = dict(scheduled_at_s=at_s, sent_at_s=at_s, ended_at_s=at_s + 1)
    return turn_record(**(stamps | dict(session=f"w0.u{at_s:g}.s0") | changes))


def test_turns_of_warm_ups_and_levels_left_behind_do_not_count():
    records = [
        turn(10.0, planned_prompt_tokens=1),  # warm-up
        turn(50.0, planned_prompt_tokens=2),
        turn(150.0, planned_prompt_tokens=4),
        turn(160.0, planned_prompt_tokens=8, ended_at_s=900.0),  # level 1 falls behind
    ]
    ledger = Ledger(header(), records, LEVELS)
    assert sent(ledger, steps(ledger)).prompt_tokens.tolist() == [2]


def test_where_no_level_was_kept_up_with_all_of_them_count():
    late = dict(ended_at_s=900.0)
    ledger = Ledger(header(), [turn(50.0, **late), turn(150.0, **late)], LEVELS)
    assert len(sent(ledger, steps(ledger)).prompt_tokens) == 2


def test_tickets_that_nobody_took_and_sub_agents_are_not_the_profiles_turns():
    records = [
        turn(50.0),
        turn(51.0, sent_at_s=None, kind=UNSENT, outcome="unfinished"),
        turn(52.0, session="w0.u1.s0.a1"),
    ]
    ledger = Ledger(header(), records, LEVELS)
    assert len(sent(ledger, steps(ledger)).prompt_tokens) == 1


def simulated_run(profile):
    sample = simulate(profile, 300, seed=3)
    at_s = np.linspace(35.0, 99.0, len(sample.prompt_tokens))
    records = [
        turn(
            float(at_s[n]),
            session=f"w0.u{n}.s0",
            kind=str(sample.kinds[n]),
            planned_prompt_tokens=int(sample.prompt_tokens[n]),
            planned_output_tokens=int(sample.output_tokens[n]),
            ideal_cached_tokens=int(sample.ideal_cached_tokens[n]),
        )
        for n in range(len(at_s))
    ]
    promised = workload(SEED, scripted=False)  # as the sample, whose cache holds replies too
    return sample, Ledger(header(), records, LEVELS[:1], workload=promised)


def test_a_run_is_judged_as_the_simulation_of_its_profile_is():
    sample, ledger = simulated_run(SEED)
    found = {row.quantity: row for row in rows(ledger, sent(ledger, steps(ledger)))}
    expected = {row.quantity: row for row in of_sample(SEED, sample)}
    assert {"prompt mean", "output p50", "new tokens mean", "ideal hit"} <= found.keys()
    assert all(row == expected[quantity] for quantity, row in found.items())
    assert "off" not in {row.verdict for row in found.values()}


def test_a_run_of_another_profile_is_off():
    _, ledger = simulated_run(AGENTIC)
    found = {r.quantity: r.verdict for r in rows(ledger, sent(ledger, steps(ledger)))}
    assert found["new tokens mean"] == "off"


def test_a_ledger_without_a_promise_is_not_compared():
    ledger = replace(simulated_run(SEED)[1], workload=None)
    assert rows(ledger, sent(ledger, steps(ledger))) == []
    assert "not compared" in text([])


def test_the_promise_of_a_profile_knows_the_spread_of_its_turns():
    """The figures of seeded samples lie within their tolerance 99 times in 100 or more."""
    promises = workload(SEED).promises
    verdicts = [
        row.verdict
        for seed in range(12)
        for row in judged(promises, simulate(SEED, 150, seed=100 + seed))
    ]
    assert verdicts.count("off") <= 0.01 * len(verdicts)

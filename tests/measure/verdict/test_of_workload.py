from dataclasses import replace

import pytest

from tests.support.evidence import ENDING, ROW, check, turns
from tests.support.records import turn_record
from tokenswarm.measure.record import UNSENT
from tokenswarm.measure.verdict import INVALID, SUSPECT, VALID


@pytest.mark.parametrize(
    ("counted", "grade"), [(1000, VALID), (1019, VALID), (970, SUSPECT), (1120, INVALID)]
)
def test_token_drift_counts_either_way(counted, grade):
    assert check("token drift", turns(prompt_tokens=counted)).grade == grade


def test_an_absurd_count_says_that_it_is_not_followed():
    absurd = check("token drift", turns(prompt_tokens=20))
    assert absurd.grade == INVALID and "the prompts do not follow the count" in absurd.finding
    assert "do not follow" not in check("token drift", turns(prompt_tokens=1120)).finding


def test_short_replies_are_suspect():
    assert check("output length", turns(output_tokens=89)).grade == SUSPECT
    assert check("output length", turns(output_tokens=None)).grade is None


def test_a_figure_of_the_workload_outside_its_tolerance_is_suspect_and_named():
    off = replace(ROW, deviation=-0.08, verdict="off")
    found = check("workload", rows=[ROW, off])
    assert found.grade == SUSPECT
    assert "prompt mean -8.0% (tolerance 5.0%)" in found.finding


def test_another_workload_is_invalid():
    assert check("workload", rows=[replace(ROW, deviation=0.3, verdict="off")]).grade == INVALID


def test_a_workload_of_too_few_turns_or_without_a_promise_is_not_checked():
    few = [replace(ROW, verdict="too few")]
    assert "too few turns" in check("workload", rows=few).finding
    assert "earlier version" in check("workload", rows=(), promised=False).finding


def first_turns(cached, prompt=50_000, shared=20_000, count=20):
    return [
        turn_record(
            session=f"w0.u{n}.s0",
            prompt_tokens=prompt,
            planned_prompt_tokens=prompt,
            ideal_cached_tokens=shared,
            cached_tokens=cached,
        )
        for n in range(count)
    ]


@pytest.mark.parametrize(
    ("cached", "grade"),
    [(0, VALID), (19_968, VALID), (20_400, VALID), (20_900, SUSPECT), (30_000, INVALID)],
)
def test_hits_on_a_sessions_first_private_text_are_contamination(cached, grade):
    assert check("cache contamination", first_turns(cached)).grade == grade


def test_later_turns_may_hit_and_unsent_ones_say_nothing():
    later = [replace(record, turn=1, cached_tokens=50_000) for record in first_turns(0)]
    unsent = [replace(r, kind=UNSENT, cached_tokens=50_000) for r in first_turns(0)]
    assert check("cache contamination", [*first_turns(0), *later, *unsent]).figure == 0.0
    assert check("cache contamination", later).grade is None


def test_contamination_of_a_warm_run_says_why():
    warm = replace(ENDING, salted=False)
    found = check("cache contamination", first_turns(30_000), ending=warm)
    assert "--warm" in found.finding

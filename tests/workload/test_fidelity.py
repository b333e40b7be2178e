from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from workload import figures
from workload.fidelity import of_sample, simulate, workload
from workload.figures import Sample
from workload.profiles import AGENTIC, PROFILES, SEED, SMALL, WILD
from workload.session import Session


def of_arrays(profile, prompt_tokens, output_tokens, ideal_cached_tokens, **others):
    """Arrays as a run has them, without kinds and gaps unless given."""
    arrays = (prompt_tokens, output_tokens, ideal_cached_tokens)
    others = {name: np.asarray(values) for name, values in others.items()}
    return of_sample(profile, Sample(*map(np.asarray, arrays), **others))


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
def test_every_profile_meets_its_own_targets(profile):
    rows = of_sample(profile, simulate(profile, 1_000, seed=1))
    assert [row for row in rows if row.verdict == "off"] == []
    assert {row.verdict for row in rows} <= {"ok", "too few"}
    assert {"prompt mean", "output p99", "new tokens p90", "ideal hit"} <= {
        row.quantity for row in rows
    }


def test_a_row_says_where_its_target_comes_from():
    sources = {row.quantity: row.source for row in of_sample(SEED, simulate(SEED, 200, seed=1))}
    assert sources["prompt mean"] == "published: study"
    assert sources["ideal hit"].startswith("design: docs/workload.md")
    assert sources["tool gap p50"] == "closed form"
    assert sources["new tokens mean"] == "simulated"
    assert sources["prompt max"] == "limit"


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (dict(end_hazard=0.25), "turns per session"),
        (dict(end_hazard=0.25), "prompt mean"),
        (dict(growth_tokens=AGENTIC.growth_tokens), "new tokens mean"),
        (dict(shared_prefix_tokens=1_000), "ideal hit"),
        (dict(tool_gap_s=AGENTIC.tool_gap_s), "tool gap p50"),
        (dict(output_tokens=SMALL.output_tokens), "output p50"),
    ],
)
def test_traffic_of_another_shape_is_off(change, quantity):
    sample = simulate(replace(SEED, **change), 3_000, seed=2)
    verdicts = {row.quantity: row.verdict for row in of_sample(SEED, sample)}
    assert verdicts[quantity] == "off"


def test_a_prompt_beyond_the_limit_is_off_however_rare():
    sample = simulate(SEED, 500, seed=3)
    prompts = sample.prompt_tokens.copy()
    prompts[0] = 200_001
    rows = of_arrays(SEED, prompts, sample.output_tokens, sample.ideal_cached_tokens)
    assert {row.quantity: row.verdict for row in rows}["prompt max"] == "off"


def test_a_runs_arrays_without_kinds_leave_out_growth_and_gaps():
    sample = simulate(SEED, 1_000, seed=4)
    rows = of_arrays(SEED, sample.prompt_tokens, sample.output_tokens, sample.ideal_cached_tokens)
    quantities = {row.quantity for row in rows}
    assert "prompt mean" in quantities and "ideal hit" in quantities
    assert not quantities & {"new tokens mean", "tool gap p50", "gap mean", "turns per session"}


def test_developers_met_in_mid_work_are_no_miss_of_the_ideal_hit():
    """A short run begins with them, and no cache holds what came before."""
    kinds = np.array(["met"] * 300 + ["tool"] * 700)
    prompts = np.full(1_000, 88_000)
    target = promised(SEED, "ideal hit", scripted=True).target
    cached = np.where(kinds == "met", 0, round(88_000 * target))
    sample = Sample(prompts, np.full(1_000, 450), cached, kinds)
    found = {row.quantity: row for row in figures.rows(workload(SEED).promises, sample)}
    assert found["ideal hit"].verdict == "ok"
    assert found["ideal hit"].realised == pytest.approx(target, rel=1e-4)
    all_told = figures.rows(workload(SEED).promises, replace(sample, kinds=None))
    assert {row.quantity: row.verdict for row in all_told}["ideal hit"] == "off"


def test_few_turns_are_too_few_not_ok():
    rows = of_arrays(SEED, [90_000] * 50, [300] * 50, [80_000] * 50)
    verdicts = {row.quantity: row.verdict for row in rows}
    assert verdicts["prompt p99"] == verdicts["output p99"] == "too few"


def test_no_turns_at_all_are_too_few_and_unknown():
    rows = of_arrays(SEED, [], [], [], kinds=[], gaps_s=[])
    assert rows and {(row.verdict, row.realised) for row in rows} == {("too few", None)}


def test_the_tolerance_shrinks_with_the_root_of_the_turns():
    def tolerance(n):
        rows = of_arrays(SEED, [88_000] * n, [450] * n, [76_000] * n)
        return {row.quantity: row.tolerance for row in rows}["prompt mean"]

    assert (tolerance(1_000) - 0.02) / (tolerance(100_000) - 0.02) == pytest.approx(10)


def test_the_tolerance_covers_honest_runs_and_not_much_more():
    """60 honest runs of 100 sessions: no row off in 9 of 10, and 3 standard errors are not 30."""
    profile = SEED
    off, deviations = 0, 0.0
    for seed in range(60):
        rows = of_sample(profile, simulate(profile, 100, seed=100 + seed))
        off += any(row.verdict == "off" for row in rows)
        mean = rows[0]
        deviations += abs(mean.deviation) / mean.tolerance
    assert off <= 6
    assert deviations / 60 > 0.1


def test_compactions_are_counted_where_the_profile_has_them():
    rows = of_sample(WILD, simulate(WILD, 300, seed=6))
    compactions = next(row for row in rows if row.quantity == "compactions per session")
    assert compactions.realised == pytest.approx(0.85, rel=0.25)
    seed_rows = of_sample(SEED, simulate(SEED, 100, seed=6))
    assert all(row.quantity != "compactions per session" for row in seed_rows)


@pytest.mark.parametrize("profile", [SEED, WILD], ids=["seed", "wild"])
def test_of_scripted_histories_every_reply_is_new(profile):
    """Exact: a scripted run's new tokens are the growth and the reply before it."""
    session = Session(profile, np.random.default_rng(7), "")
    turns = list(iter(session.next_turn, None))
    for before, turn in pairwise(turns):
        scripted_new = turn.prompt_tokens - before.prompt_tokens
        if turn.kind != "compaction":
            assert scripted_new == turn.new_tokens + before.reply_tokens
    grown, sent = (promised(profile, "new tokens mean", scripted=s) for s in (False, True))
    reply_tokens = simulate(profile, 400, seed=9).output_tokens.mean()
    assert sent.target - grown.target == pytest.approx(reply_tokens, rel=0.1)


def promised(profile, quantity, *, scripted):
    promises = workload(profile, scripted=scripted).promises
    return next(promise for promise in promises if promise.quantity == quantity)


def test_the_cut_of_long_replies_is_in_the_closed_form():
    short = replace(SEED, max_output_tokens=1_000, targets=())
    row = {r.quantity: r for r in of_sample(short, simulate(short, 1_500, seed=8))}["output mean"]
    assert row.source == "closed form" and row.verdict == "ok"
    assert row.target == pytest.approx(np.minimum(_outputs(200_000), 1_000).mean(), rel=0.01)


def _outputs(n):
    return SEED.output_tokens.draw(np.random.default_rng(9), n)


def test_a_simulation_is_repeatable():
    assert (simulate(SEED, 50, 1).prompt_tokens == simulate(SEED, 50, 1).prompt_tokens).all()

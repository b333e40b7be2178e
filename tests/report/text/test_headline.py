from dataclasses import replace

import pytest

from tests.support.records import ending, header
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.result import result
from tokenswarm.report.notation import slo_text
from tokenswarm.report.text.headline import details, headline

LADDER = ladder_run(targets_tpm=(1e6, 2e6, 3.5e6))


def test_the_capacity_is_said_with_its_objective_its_share_per_gpu_and_its_interval():
    said = headline(result(LADDER, [Slo.parse("ttft_p50<5s")]))
    assert said.startswith("SIMULATED sim:trtllm-like carries 2.")
    assert "M input TPM (5" in said and "k per GPU) with TTFT p50 < 5 s, 95% interval " in said


def test_a_real_endpoint_is_named_by_model_and_engine():
    target = replace(header().target, simulated=False, engine="vllm", model="kimi")
    said = headline(result(replace(LADDER, header=header(target=target))))
    assert said.startswith("kimi on vllm ")


def test_without_gpus_there_is_no_share_per_gpu():
    target = replace(header().target, gpus=None)
    assert "per GPU" not in headline(result(replace(LADDER, header=header(target=target))))


def test_an_objective_that_nobody_asked_for_is_named_as_such():
    assert "No objective was asked for; TTFT p50 < 1 s stands in." in details(result(LADDER))
    asked = details(result(LADDER, [Slo.parse("ttft_p50<5s")]))
    assert not [said for said in asked if "stands in" in said]


def test_an_invalid_run_is_not_to_be_used():
    assert details(result(Ledger(header())))[0].startswith("Do not use these numbers")
    lost = replace(LADDER, ending=ending(workers=2, workers_lost=1))
    said = headline(result(lost, [Slo.parse("ttft_p50<5s")]))
    assert said == "INVALID run: nothing can be claimed about SIMULATED sim:trtllm-like."
    assert not [each for each in details(result(lost)) if "TTFT" in each or "capacity" in each]


def test_what_too_few_turns_decide_is_no_claim_and_why_is_a_sentence_of_its_own():
    found = result(LADDER, [Slo.parse("ttft_p99<20s")])
    assert " seems to carry 1.98M input TPM " in headline(found)
    assert "claim" not in headline(found)
    assert "Too few turns to claim that: level 1: 123 samples, a p99 needs 662." in details(found)


def test_a_reason_to_stop_that_is_a_sentence_of_the_servers_ends_once():
    said = details(result(replace(LADDER, ending=ending(stopped="most with http_500: Sorry."))))
    assert said[0] == "The run ended before its time: most with http_500: Sorry."


def test_objectives_are_written_in_words():
    texts = ("ttft_p50<1s", "ttft_p99<=500ms", "tps_p50>40", "failures<0.5%", "tpm>=2.5M")
    assert [slo_text(Slo.parse(text)) for text in texts] == [
        "TTFT p50 < 1 s",
        "TTFT p99 <= 0.5 s",
        "TPS p50 > 40",
        "failures < 0.5%",
        "TPM >= 2.50M",
    ]
    assert slo_text(Slo.parse("failures<10%")) == "failures < 10%"
    assert slo_text(Slo.parse("ttft_from_schedule_p90<2s")) == "TTFT from schedule p90 < 2 s"


@pytest.mark.parametrize(
    ("tpm", "said"),
    [
        (Interval(2e6, 1.5e6, 2.5e6), "95% interval 1.50M to 2.50M."),
        (Interval(2e6, 1.5e6, None), "95% interval from 1.50M on."),
        (Interval(2e6, None, 2.5e6), "95% interval up to 2.50M."),
        (Interval(2e6), "95% interval open at both ends."),
    ],
)
def test_an_end_without_a_bound_is_said_to_be_open(tpm, said):
    found = result(LADDER, [Slo.parse("ttft_p50<5s")])
    capacity = replace(found.curve.capacities[-1], tpm=tpm, bound="within", claimed=True)
    assert headline(replace(found, curve=replace(found.curve, capacities=(capacity,)))).endswith(
        said
    )

from dataclasses import replace

import pytest

from tests.support.records import header
from tokenswarm.measure.quantiles import Spread
from tokenswarm.report.notation import (
    number_text,
    percentile_text,
    share_text,
    target_text,
    tpm_text,
)


@pytest.mark.parametrize(
    ("tpm", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (999.0, "999"),
        (625e3, "625k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (2.5e6, "2.50M"),
    ],
)
def test_tpm_is_short(tpm, text):
    assert tpm_text(tpm) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.714, "0.71"), (9.996, "10.0"), (99.96, "100"), (88_012.4, "88,012")],
)
def test_numbers_keep_about_three_digits(value, text):
    assert number_text(value) == text


def test_an_unknown_share_is_a_dash():
    assert (share_text(None), share_text(0.0), share_text(0.866)) == ("-", "0%", "87%")


def test_a_percentile_without_enough_samples_is_marked():
    assert percentile_text(Spread.of([2.0] * 661), 99) == "2.00*"
    assert percentile_text(Spread.of([2.0] * 662), 99) == "2.00"
    assert percentile_text(Spread.of([]), 99) == "-"


def test_a_simulated_engine_is_named_as_such_and_a_real_one_by_its_model():
    simulated = header()
    assert target_text(simulated) == (
        "SIMULATED by sim:trtllm-like (embedded engine, speed 20, engine seconds)"
    )
    real = replace(simulated.target, simulated=False, engine="vllm", model="kimi", url="http://h")
    assert target_text(replace(simulated, target=real)) == "kimi at http://h (vllm, 4 GPUs)"
    bare = replace(real, engine=None, gpus=None)
    assert target_text(replace(simulated, target=bare)) == "kimi at http://h"

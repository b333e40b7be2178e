import numpy as np
import pytest

from tests.support.records import failed_record, turn_record, unfinished_record
from tokenswarm.measure.columns import Columns
from tokenswarm.measure.slo import Slo, meets
from tokenswarm.measure.tally import Tally

MINUTE = (0.0, 60.0)


def goodput(turns, slos):
    """Share of the turns that are good."""
    good = meets(Columns.of(turns), np.arange(len(turns)), slos)
    return None if good is None else good.mean()


def summary_of(records):
    return Tally(records).summary(MINUTE)


@pytest.mark.parametrize(
    ("text", "metric", "percent", "threshold"),
    [
        ("ttft_p50<1s", "ttft", 50, 1.0),
        ("ttft_p97<2s", "ttft", 97, 2.0),
        ("tps_p1>5", "tps", 1, 5.0),
        ("ttft_p99<5s", "ttft", 99, 5.0),
        ("ttft_p50<=800ms", "ttft", 50, 0.8),
        ("visible_ttft_p90 < 1.5 s", "visible_ttft", 90, 1.5),
        ("e2e_p90<30s", "e2e", 90, 30.0),
        ("tpot_p50<25ms", "tpot", 50, 0.025),
        ("tps_p50>40", "tps", 50, 40.0),
        ("tps_p10>=20", "tps", 10, 20.0),
        ("failures<0.5%", "failures", None, 0.005),
        ("hit_share>90%", "hit_share", None, 0.9),
        ("tpm>2.5M", "tpm", None, 2.5e6),
        ("tpm>=625k", "tpm", None, 625e3),
    ],
)
def test_an_slo_is_read_as_typed(text, metric, percent, threshold):
    slo = Slo.parse(text)
    assert (slo.text, slo.metric, slo.percent) == (text, metric, percent)
    assert slo.threshold == pytest.approx(threshold)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is not METRIC"),
        ("ttft_p50", "is not METRIC"),
        ("ttft_p50=1s", "is not METRIC"),
        ("ttft_p50<-1s", "is not METRIC"),
        ("ttft_p50<1s and more", "is not METRIC"),
        ("latency_p50<1s", "unknown metric 'latency'"),
        ("ttft<1s", "needs a percentile"),
        ("ttft_p0<1s", "needs a percentile"),
        ("ttft_p100<1s", "needs a percentile"),
        ("failures_p50<1%", "has none"),
        ("ttft_p50<0s", "has a threshold of 0"),
        ("ttft_p50>1s", "asks for a worse ttft: use <"),
        ("tps_p50<40", "asks for a worse tps: use >"),
        ("ttft_p50<1", "unit 'none', ttft takes 's' or 'ms'"),
        ("failures<0.5", "failures takes '%'"),
        ("tps_p50>40s", "unit 's', tps takes none"),
        ("tpm>2.5m", "unit 'm', tpm takes none or 'k' or 'M'"),
    ],
)
def test_an_slo_that_does_not_parse_names_itself_and_what_is_accepted(text, reason):
    with pytest.raises(ValueError) as caught:
        Slo.parse(text)
    message = str(caught.value)
    assert message.startswith(f"SLO {text!r} ")
    assert reason in message
    assert "accepted: ttft" in message


def test_a_percentile_is_met_or_missed_by_its_value():
    summary = summary_of([turn_record()] * 11)  # TTFT 1.0 s, 49.5 tokens per second
    assert Slo.parse("ttft_p50<=1s").judge(summary).met is True
    assert Slo.parse("ttft_p50<1s").judge(summary).met is False
    assert Slo.parse("tps_p50>49").judge(summary).met is True
    assert Slo.parse("tps_p50>50").judge(summary).met is False
    assert Slo.parse("tpot_p50<21ms").judge(summary).met is True


def test_a_judgement_carries_the_value_and_the_samples():
    judgement = Slo.parse("ttft_p50<2s").judge(summary_of([turn_record()] * 11))
    assert (judgement.value, judgement.samples, judgement.reason) == (1.0, 11, "")


def test_too_few_samples_are_no_judgement():
    judgement = Slo.parse("ttft_p99<5s").judge(summary_of([turn_record()] * 661))
    assert judgement.met is None
    assert judgement.value == 1.0
    assert judgement.reason == "661 samples, a p99 needs 662"
    assert Slo.parse("ttft_p99<5s").judge(summary_of([turn_record()] * 662)).met is True


def test_any_percentile_is_exact_and_needs_its_own_number_of_turns():
    turns = [turn_record(first_token_at_s=10.0 + n / 100) for n in range(1, 302)]
    summary = summary_of(turns)  # TTFTs of 0.01 to 3.01 s; the p97 is the 292nd
    assert Slo.parse("ttft_p97<=2.92s").judge(summary).met is True
    assert Slo.parse("ttft_p97<2.91s").judge(summary).met is False
    judgement = Slo.parse("ttft_p98<5s").judge(summary)
    assert (judgement.met, judgement.reason) == (None, "301 samples, a p98 needs 330")
    assert judgement.value == pytest.approx(2.95)


def test_totals_are_judged_on_the_window():
    summary = summary_of([turn_record()] * 199 + [failed_record("http_5xx")])
    assert Slo.parse("failures<0.5%").judge(summary).met is False
    assert Slo.parse("failures<=0.5%").judge(summary).met is True
    assert Slo.parse("hit_share>79%").judge(summary).met is True
    assert Slo.parse("tpm>199k").judge(summary).met is False
    assert Slo.parse("tpm>=199k").judge(summary).met is True


@pytest.mark.parametrize("text", ("failures<0.5%", "hit_share>90%", "ttft_p50<1s"))
def test_without_turns_nothing_is_known(text):
    judgement = Slo.parse(text).judge(summary_of([]))
    assert judgement.met is None
    assert judgement.reason == "no sample"


def test_goodput_is_the_share_of_turns_that_meet_every_threshold():
    turns = [
        turn_record(),  # TTFT 1 s, 49.5 tokens per second
        turn_record(first_token_at_s=12.5, last_token_at_s=14.5),  # too slow to start
        turn_record(last_token_at_s=31.0),  # too slow to stream
        failed_record("http_429"),
        unfinished_record(first_token_at_s=10.5),
    ]
    slos = [Slo.parse("ttft_p50<2s"), Slo.parse("tps_p50>40"), Slo.parse("failures<1%")]
    assert goodput(turns, slos) == 1 / 5
    assert goodput(turns, []) == 3 / 5


def test_goodput_counts_a_turn_without_a_first_token_as_missed():
    turns = [turn_record(), unfinished_record(outcome="cancelled")]
    assert goodput(turns, [Slo.parse("ttft_p50<2s")]) == 1 / 2


def test_goodput_does_not_miss_a_turn_whose_speed_has_no_meaning():
    turns = [turn_record(), turn_record(output_chunks=1)]
    assert goodput(turns, [Slo.parse("tps_p50>40")]) == 1.0


def test_goodput_is_unknown_without_turns_or_without_the_values():
    assert goodput([], [Slo.parse("ttft_p50<2s")]) is None
    assert goodput([turn_record(output_tokens=None)], [Slo.parse("tps_p50>40")]) is None


@pytest.mark.parametrize(
    ("text", "met", "reason"),
    [
        ("ttft_p50<15s", False, "turns were cut off before it"),  # 20 s were waited
        ("ttft_p50<30s", None, "turns were cut off before it"),
        ("ttft_p10<2s", True, ""),
        ("ttft_from_schedule_p90<15s", False, "turns were cut off before it"),
        ("e2e_p90<15s", False, "turns were cut off before it"),
        ("visible_ttft_p99<19s", False, "turns were cut off before it"),
    ],
)
def test_an_slo_is_never_met_because_slow_turns_were_cut_off(text, met, reason):
    seen = [turn_record() for _ in range(70)]  # TTFT 1 s
    waiting = unfinished_record(sent_at_s=10.0, scheduled_at_s=10.0, ended_at_s=30.0)
    judgement = Slo.parse(text).judge(summary_of([*seen, *[waiting] * 80]))
    assert (judgement.met, judgement.reason) == (met, reason)

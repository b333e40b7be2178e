from dataclasses import replace
from typing import Any

import pytest

from tests.support.records import header, turn_record
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level
from tokenswarm.report.analysis.result import result
from tokenswarm.report.text.bills import bills, request_of

LEVELS = [
    Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=100.0),
    Level(index=1, target_tpm=2e6, developers=None, started_at_s=100.0, ended_at_s=200.0),
]


def turns(at_s, count, **changes):
    stamps = dict(scheduled_at_s=at_s, sent_at_s=at_s, first_token_at_s=at_s + 1)
    stamps |= dict(last_token_at_s=at_s + 2, ended_at_s=at_s + 3)
    return [turn_record(session=f"w0.u{at_s:g}.s{n}", **(stamps | changes)) for n in range(count)]


def run(*records) -> Ledger:
    return Ledger(header(), list(records), LEVELS)


def test_a_request_is_the_mean_of_the_levels_the_endpoint_kept_up_with():
    calm = turns(50.0, 4, prompt_tokens=88_000, cached_tokens=66_000, output_tokens=450)
    overloaded = turns(150.0, 9, prompt_tokens=10, cached_tokens=0, ended_at_s=900.0)
    request = request_of(result(run(*calm, *overloaded)))
    assert request is not None
    assert (request.input_tokens, request.output_tokens) == (88_000, 450)
    assert request.cached_tokens == pytest.approx(66_000)


def test_levels_count_by_their_turns_and_hits_by_their_tokens():
    first = turns(50.0, 3, prompt_tokens=100_000, cached_tokens=90_000, output_tokens=400)
    second = turns(150.0, 1, prompt_tokens=60_000, cached_tokens=0, output_tokens=800)
    request = request_of(result(run(*first, *second)))
    assert request is not None
    assert request.input_tokens == pytest.approx(90_000)
    assert request.output_tokens == pytest.approx(500)
    assert request.cached_tokens == pytest.approx(90_000 * 270_000 / 360_000)


def test_a_price_stands_twice_without_and_with_cache():
    """88k in, 450 out at $5 and $25 per million: $0.451."""
    records = turns(50.0, 4, prompt_tokens=88_000, cached_tokens=44_000, output_tokens=450)
    rows: list[dict[str, Any]] = bills(result(run(*records))).records()
    opus = [row for row in rows if row["model"] == "claude-opus-4-6"]
    assert [row["cache"] for row in opus] == ["without", "with"]
    assert opus[0]["request_usd"] == pytest.approx(0.45125)
    assert opus[1]["request_usd"] < opus[0]["request_usd"]


def test_unknown_replies_have_no_bill():
    silent = [replace(record, output_tokens=None) for record in turns(50.0, 4)]
    assert bills(result(run(*silent))).rows == ()

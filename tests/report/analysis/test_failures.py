from dataclasses import replace

from tests.support.records import failed_record, turn_record
from tests.support.runs import ladder_run
from tokenswarm.report.analysis.failures import MOST_CHARACTERS, failure_kinds
from tokenswarm.report.analysis.result import result
from tokenswarm.report.files.page import page
from tokenswarm.report.text.failures import by_kind, samples_text


def failed(kind, count, detail="", at_s=10.0):
    return [
        failed_record(kind, detail=detail, scheduled_at_s=at_s + n, session=f"{kind}{detail}{n}")
        for n in range(count)
    ]


def test_kinds_come_by_how_many_with_the_commonest_texts_first():
    records = [
        turn_record(),
        *failed("connect", 2, "refused", at_s=3.0),
        *failed("http_429", 3, "slow  down\n"),
        *failed("http_429", 5, "rate limit"),
    ]
    many, few = failure_kinds(records)
    assert (many.kind, many.turns, few.kind, few.turns) == ("http_429", 8, "connect", 2)
    assert many.samples == (("rate limit", 5), ("slow down", 3))
    assert few.first_at_s == 3.0
    assert samples_text(many) == "rate limit (5 of 8); slow down (3 of 8)"


def test_many_texts_are_counted_and_long_ones_cut():
    records = [each for n in range(9) for each in failed("http_5xx", 1, f"request {n}")]
    (kind,) = failure_kinds([*records, *failed("http_5xx", 2, "x" * 999)])
    assert len(kind.samples) == 3 and kind.unlike == 7
    assert len(kind.samples[0][0]) == MOST_CHARACTERS
    assert samples_text(kind).endswith("; and 7 other texts")


def test_the_page_shows_them_as_text():
    run = ladder_run(targets_tpm=(1e6,))
    found = result(replace(run, records=[*run.records, *failed("http_4xx", 4, "<b>no</b> tools")]))
    (row,) = [row for row in by_kind(found).rows if row[0].value == "http_4xx"]
    assert [cell.value for cell in row][1:3] == [4, 4 / len(found.ledger.records)]
    shown = page(found)
    assert "&lt;b&gt;no&lt;/b&gt; tools" in shown and "<b>no</b>" not in shown
    assert 'data-key="http_4xx" data-value="4" class="bad"' in shown

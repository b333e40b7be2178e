"""The golden table: UPDATE_GOLDEN=1 pytest tests/report writes it anew; read the difference."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.records import failed_record, fingerprint, header, turn_record, unfinished_record
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.record import Level
from tokenswarm.measure.tally import Tally
from tokenswarm.report.analysis.steps import steps, whole_run
from tokenswarm.report.text.levels import notes, table

GOLDEN = Path(__file__).parent / "golden"


def shown(ledger):
    return table(ledger, steps(ledger), whole_run(ledger))


def assert_golden(name, text):
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text + "\n")
    assert text + "\n" == path.read_text()


def small_run():
    """Two levels of 100 s: twelve turns of a hand-computable kind, then trouble."""
    levels = [
        Level(index=0, target_tpm=12e3, developers=None, started_at_s=0.0, ended_at_s=100.0),
        Level(index=1, target_tpm=24e3, developers=None, started_at_s=100.0, ended_at_s=200.0),
    ]
    calm = [_due(40.0 + 4 * turn, turn) for turn in range(12)]
    trouble = [
        failed_record("http_429", turn=20, scheduled_at_s=140.0, sent_at_s=140.0, ended_at_s=141.0),
        failed_record(
            "stall_timeout", turn=21, scheduled_at_s=150.0, sent_at_s=150.0, ended_at_s=180.0
        ),
        unfinished_record(turn=22, scheduled_at_s=190.0, sent_at_s=191.0, ended_at_s=205.0),
        _due(160.0, 23, prompt_tokens=1040, cached_tokens=None, first_chunk_tokens=None),
    ]
    return Ledger(header(), calm + trouble, levels, torn_lines=1)


def _due(at_s, turn, **changes):
    return turn_record(
        **(
            dict(
                turn=turn,
                scheduled_at_s=at_s,
                sent_at_s=at_s,
                first_token_at_s=at_s + 1,
                last_token_at_s=at_s + 3,
                ended_at_s=at_s + 3,
            )
            | changes
        )
    )


def test_the_table_of_a_small_run_is_as_computed_by_hand():
    rows = shown(small_run()).splitlines()
    first = next(row for row in rows if row.startswith("  0"))
    # 12 turns of 1,000 tokens in 70 s: 10.3k TPM; 1 s to the first token, 99 tokens in 2 s
    assert " ".join(first.split()) == "0 12k 10k 10k 12 0 1.00 1.00* 1.00* 49.5 80% (90%) 100 0.00*"
    second = next(row for row in rows if row.startswith("  1"))
    # due: 4 turns of 4,040 tokens, answered: the last one only, an inferred miss; of the two that
    # did not fail one took 1 s, the other was cut off after 14 s
    cells = "1 24k 3k 891 4 2 >14.0* >14.0* >14.0* 49.5* 0% (90%) 100 0.97*"
    assert " ".join(second.split()) == cells


def test_the_table_of_a_small_run_is_golden():
    assert_golden("small.txt", shown(small_run()))


def test_the_table_of_a_ladder_is_golden():
    assert_golden("ladder.txt", shown(ladder_run()))


def test_the_table_fits_110_columns():
    assert max(map(len, shown(ladder_run()).splitlines())) <= 110


def test_closed_mode_shows_developers():
    ledger = small_run()
    levels = [replace(level, target_tpm=None, developers=24) for level in ledger.levels]
    closed = replace(header(), fingerprint=fingerprint(mode="developers"))
    rows = shown(Ledger(closed, ledger.records, levels)).splitlines()
    assert any("devs" in row for row in rows)
    assert next(row for row in rows if row.startswith("  0")).split()[1] == "24"


def test_failures_censoring_drift_and_new_tokens_stand_under_the_table():
    text = " ".join(shown(small_run()).split())
    assert "Failures at level 1: 1 http_429, 1 stall_timeout" in text
    assert "16 turns, 13 ok, 0 cancelled, 2 failed (1 http_429, 1 stall_timeout), 1 unfin" in text
    assert "1 of 1 had no first token" in text
    assert "Token drift: +0.31%" in text  # 13,040 against 13,000
    assert "mean 100, p50 100. New tokens per turn is the most influential number" in text
    assert "estimated in 8% of the turns" in text  # 1 of 13
    assert "1 torn last line(s)" in text


def test_a_run_without_turns_has_a_table_of_unknowns():
    text = shown(Ledger(header(), [], []))
    assert "0 turns" in text
    assert "- (-)" in text


@pytest.mark.parametrize(
    ("early_s", "said"),
    [
        ((0.0, 4.0, None, 8.0), ["Pauses: 67% of the levels' turns", "6.00 s in the median"]),
        ((0.0, 0.0, None, 0.0), []),  # closed mode
    ],
)
def test_turns_before_their_own_pause_was_over_are_counted(early_s, said):
    records = [
        turn_record(turn=n, scheduled_at_s=50.0, early_s=seconds)
        for n, seconds in enumerate(early_s)
    ]
    warm_up = turn_record(turn=9, scheduled_at_s=1.0, early_s=99.0)
    levels = [Level(index=0, target_tpm=1e6, developers=None, started_at_s=0.0, ended_at_s=100.0)]
    ledger = Ledger(header(), [warm_up, *records], levels)
    text = "\n".join(notes(ledger, steps(ledger), Tally(records).summary((0.0, 60.0))))
    assert [line for line in said if line in text] == said
    assert ("Pauses:" in text) == bool(said)

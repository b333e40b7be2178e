from dataclasses import replace

import pytest

from tests.support.ledgers import ENDING, LEVEL, turns, written
from tests.support.records import fingerprint, header, turn_record
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import LedgerError, LedgerWriter, read_run


def test_health_in_the_masters_ledger_and_the_workers_own_counts_once(tmp_path):
    own, others = (
        Health(
            process=f"worker-{index}",
            at_s=200.0,
            interval_s=10.0,
            hub_lag_p99_s=0.001,
            hub_lag_max_s=None,
            cpu_share=0.2,
            rss_bytes=1 << 28,
        )
        for index in (0, 1)
    )
    written(tmp_path / "ledger.jsonl", turns(1), health=[others, own])
    written(tmp_path / "worker-0.jsonl", turns(1), health=[own], worker=0)
    assert read_run(tmp_path).health == [own, others]


def test_a_run_is_the_union_of_its_files(tmp_path):
    written(tmp_path / "ledger.jsonl", turns(2), [replace(LEVEL, ended_at_s=60.0)])
    written(tmp_path / "worker-0.jsonl", turns(3), [LEVEL], worker=0)
    written(tmp_path / "worker-1.jsonl", turns(2, session="w1.u0.s0"), worker=1)
    ledger = read_run(tmp_path)
    keys = {(record.session, record.turn) for record in ledger.records}
    assert len(ledger.records) == len(keys) == 5
    assert ledger.levels == [replace(LEVEL, ended_at_s=60.0)]
    assert ledger.header == header()


def test_a_worker_that_knows_a_level_s_end_completes_the_master_s_copy(tmp_path):
    written(tmp_path / "ledger.jsonl", levels=[LEVEL])
    written(tmp_path / "worker-0.jsonl", levels=[replace(LEVEL, ended_at_s=60.0)], worker=0)
    assert read_run(tmp_path).levels[0].ended_at_s == 60.0


def test_torn_lines_of_all_files_are_counted(tmp_path):
    for name in ("worker-0", "worker-1"):
        path = written(tmp_path / f"{name}.jsonl", turns(2, session=name), worker=0)
        path.write_bytes(path.read_bytes()[:-5])
    ledger = read_run(tmp_path)
    assert (len(ledger.records), ledger.torn_lines) == (2, 2)


def test_a_worker_s_times_are_moved_to_the_master_s_second_zero(tmp_path):
    """The worker started 0.5 wall seconds later, which is 10 engine seconds at speed 20."""
    written(tmp_path / "ledger.jsonl")
    started_at = header().started_at + 0.5
    written(tmp_path / "worker-0.jsonl", [turn_record()], worker=0, started_at=started_at)
    record = read_run(tmp_path).records[0]
    assert (record.scheduled_at_s, record.ended_at_s) == (20.0, 23.0)
    assert record.ttft_s == 1.0


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (dict(fingerprint=fingerprint(seed=2)), "seed: 1 against 2"),
        (dict(run="other"), "run: demo against other"),
        (dict(speed=1.0), "speed: 20 against 1"),
    ],
)
def test_files_of_different_runs_are_not_merged(tmp_path, changes, difference):
    written(tmp_path / "ledger.jsonl")
    other = written(tmp_path / "worker-0.jsonl", worker=0, **changes)
    with pytest.raises(LedgerError, match=difference) as caught:
        read_run(tmp_path)
    assert str(caught.value).startswith(str(other))


def test_two_different_turns_of_one_name_are_refused(tmp_path):
    written(tmp_path / "worker-0.jsonl", [turn_record()], worker=0)
    written(tmp_path / "worker-1.jsonl", [turn_record(planned_prompt_tokens=7)], worker=1)
    with pytest.raises(LedgerError, match="session names must be unique"):
        read_run(tmp_path)


def test_a_directory_without_a_ledger_is_refused(tmp_path):
    with pytest.raises(LedgerError, match="no ledger"):
        read_run(tmp_path)


def test_the_master_knows_promise_and_end_of_a_run_of_several_files(tmp_path):
    LedgerWriter(tmp_path / "worker-0.jsonl", header(worker=0)).close()
    with LedgerWriter(tmp_path / "ledger.jsonl", header()) as writer:
        writer.write_ending(ENDING)
    assert read_run(tmp_path).ending == ENDING

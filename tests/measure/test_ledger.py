import errno
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import fingerprint, header, healths, levels, turn_record, turn_records
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger import Ledger, LedgerError, LedgerWriter, read, read_run
from tokenswarm.measure.record import Level
from workload.fidelity import workload
from workload.profiles import SEED

LEVEL = Level(index=0, target_tpm=5e5, developers=None, started_at_s=0.0)


def written(path, records=(), levels=(), health=(), **changes):
    with LedgerWriter(path, header(**changes)) as ledger:
        for level in levels:
            ledger.write_level(level)
        for sample in health:
            ledger.write_health(sample)
        for record in records:
            ledger.write(record)
    return path


def turns(count, **changes):
    return [turn_record(turn=turn, **changes) for turn in range(count)]


def as_stored(record):
    """Gaps are kept to 0.1 ms, everything else in full."""
    return replace(record, chunk_gaps_s=tuple(round(gap, 4) for gap in record.chunk_gaps_s))


@given(
    st.lists(turn_records(), max_size=5),
    st.lists(levels(), max_size=4),
    st.lists(healths(), max_size=4),
)
def test_what_is_written_is_read_back(records, stored_levels, health):
    with tempfile.TemporaryDirectory() as directory:
        ledger = read(written(Path(directory) / "ledger.jsonl", records, stored_levels, health))
    assert ledger.header == header()
    assert ledger.records == [as_stored(record) for record in records]
    last = {level.index: level for level in stored_levels}
    assert ledger.levels == [last[index] for index in sorted(last)]
    assert ledger.health == sorted(health, key=lambda h: (h.process, h.at_s))
    assert ledger.torn_lines == 0


def test_the_header_is_plain_json_with_its_format(tmp_path):
    path = written(tmp_path / "ledger.jsonl", worker=3)
    stored = orjson.loads(path.read_bytes().splitlines()[0])["header"]
    assert stored["format"] == 1
    assert stored["worker"] == 3
    assert stored["started_at"] == 1_750_000_000.25
    assert stored["fingerprint"]["profile_hash"] == "aa11"
    assert stored["target"]["simulated"] is True


def test_a_level_written_again_with_its_end_replaces_the_first(tmp_path):
    ended = replace(LEVEL, ended_at_s=60.0)
    path = written(tmp_path / "ledger.jsonl", levels=[LEVEL, ended])
    assert read(path).levels == [ended]


def test_chunk_gaps_are_kept_to_a_tenth_of_a_millisecond(tmp_path):
    path = written(tmp_path / "ledger.jsonl", [turn_record(chunk_gaps_s=(0.020149, 1 / 3))])
    assert read(path).records[0].chunk_gaps_s == (0.0201, 0.3333)
    assert read(path, chunk_gaps=False).records[0].chunk_gaps_s == ()


def test_half_a_surrogate_pair_from_a_server_loses_no_turn(tmp_path):
    path = written(tmp_path / "ledger.jsonl", [turn_record(detail="bad \ud800")])
    assert read(path).records[0].detail == "bad ?"


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


def test_a_broken_health_line_names_its_field(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    with path.open("a") as file:
        file.write('{"health": {"process": "local"}}\n')
    with pytest.raises(LedgerError, match=r"ledger.jsonl:2: health without at_s"):
        read(path)


def test_a_ledger_is_never_overwritten(tmp_path):
    path = written(tmp_path / "ledger.jsonl", turns(2))
    with pytest.raises(FileExistsError):
        LedgerWriter(path, header())
    assert len(read(path).records) == 2


def test_closing_twice_is_fine_and_writing_after_it_is_not(tmp_path):
    ledger = LedgerWriter(tmp_path / "ledger.jsonl", header())
    ledger.close()
    ledger.close()
    with pytest.raises(ValueError, match="closed"):
        ledger.write(turn_record())


def test_a_killed_process_loses_no_finished_turn(tmp_path):
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tokenswarm.measure.ledger import LedgerWriter; from tests.support.records import *\n"
        "ledger = LedgerWriter(Path(sys.argv[1]), header())\n"
        "for turn in range(50): ledger.write(turn_record(turn=turn))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / "ledger.jsonl"
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    assert killed.returncode == -signal.SIGKILL
    assert [record.turn for record in read(path).records] == list(range(50))


def test_a_torn_last_line_is_dropped_and_counted_wherever_it_is_cut(tmp_path):
    path = written(tmp_path / "ledger.jsonl", turns(3))
    whole = path.read_bytes()
    last_line = len(whole.splitlines(keepends=True)[-1])
    for missing in range(1, last_line):
        path.write_bytes(whole[:-missing])
        ledger = read(path)
        assert (len(ledger.records), ledger.torn_lines) == (2, 1)
    path.write_bytes(whole[:-last_line])
    assert read(path) == Ledger(header(), turns(2), [], torn_lines=0)


def test_a_broken_last_line_is_dropped_and_counted_too(tmp_path):
    path = written(tmp_path / "ledger.jsonl", turns(2))
    path.write_bytes(path.read_bytes() + b"\0\0\0\n")
    assert (len(read(path).records), read(path).torn_lines) == (2, 1)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{broken", "not a line of JSON"),
        (b"[1]", "not a line of JSON"),
        (b'{"other": 1}', "not a turn or level"),
        (b'{"turn": 7}', "not a turn"),
        (b'{"turn": {"session": "a"}}', "turn without body_bytes, body_sent_at_s"),
        (b'{"level": {"index": "a"}}', "turn or level without"),
    ],
)
def test_a_broken_line_in_the_middle_names_file_and_line(tmp_path, line, reason):
    path = written(tmp_path / "ledger.jsonl", turns(2))
    head, first, second = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([head, first, line, second, b""]))
    with pytest.raises(LedgerError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("prompt_tokens", "many", "turn has prompt_tokens 'many'"),
        ("scheduled_at_s", None, "turn has scheduled_at_s None"),
        ("turn", True, "turn has turn True"),
        ("outcome", "fine", "outcome 'fine' is not one of"),
        ("chunk_gaps_s", ["a"], "chunk_gaps_s that is not a number"),
        ("chunk_gaps_s", None, "turn has chunk_gaps_s None"),
        ("colour", "red", "turn with unknown colour"),
    ],
)
def test_a_wrong_value_names_file_line_and_field(tmp_path, name, value, reason):
    path = written(tmp_path / "ledger.jsonl", turns(2))
    lines = path.read_bytes().splitlines()
    entry = orjson.loads(lines[2])
    entry["turn"][name] = value
    path.write_bytes(b"\n".join([*lines[:2], orjson.dumps(entry), b""]))
    with pytest.raises(LedgerError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: ")
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "the ledger is empty"),
        (b"time,latency\n1,2\n", "not a tokenswarm ledger"),
        (b'{"header": {"format": 1', "not a tokenswarm ledger"),
        (b'{"header": {"format": 2}}\n', "ledger format 2, this version reads 1"),
        (b'{"header": {"format": 1}}\n', "not a fingerprint"),
        (b'{"header": 3}\n', "not a tokenswarm ledger"),
        (b"\x80\x81\n", "not a tokenswarm ledger"),
    ],
)
def test_a_foreign_file_is_refused_by_name(tmp_path, content, reason):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(content)
    with pytest.raises(LedgerError) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert reason in str(caught.value)


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


@given(st.lists(turn_records(), max_size=3), st.data())
def test_a_file_cut_anywhere_is_read_or_refused_but_never_misread(records, data):
    with tempfile.TemporaryDirectory() as directory:
        path = written(Path(directory) / "ledger.jsonl", records)
        whole = path.read_bytes()
        kept = whole[: data.draw(st.integers(0, len(whole)))]
        path.write_bytes(kept)
        try:
            ledger = read(path)
        except LedgerError:
            assert b"\n" not in kept  # cut inside the header
            return
    whole_turns = kept.count(b"\n") - 1
    assert ledger.records == [as_stored(record) for record in records[:whole_turns]]
    assert ledger.torn_lines == (not kept.endswith(b"\n"))


ENDING = Ending(
    at_s=130.5,
    salted=True,
    workers=2,
    workers_lost=1,
    workers_unreported=0,
    engine_lateness_p99_s=0.002,
    engine_arrival_lateness_p99_s=None,
)


def test_the_promise_of_the_workload_and_the_end_come_back(tmp_path):
    promised = workload(SEED)
    with LedgerWriter(tmp_path / "ledger.jsonl", header()) as writer:
        writer.write_workload(promised)
        writer.write_ending(ENDING)
    ledger = read(tmp_path / "ledger.jsonl")
    assert ledger.workload == promised
    assert ledger.ending == ENDING


def test_a_ledger_of_an_earlier_version_has_neither_promise_nor_end(tmp_path):
    LedgerWriter(tmp_path / "ledger.jsonl", header()).close()
    ledger = read(tmp_path / "ledger.jsonl")
    assert (ledger.workload, ledger.ending) == (None, None)


def test_the_master_knows_promise_and_end_of_a_run_of_several_files(tmp_path):
    LedgerWriter(tmp_path / "worker-0.jsonl", header(worker=0)).close()
    with LedgerWriter(tmp_path / "ledger.jsonl", header()) as writer:
        writer.write_ending(ENDING)
    assert read_run(tmp_path).ending == ENDING


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"end": {"at_s": 1.0}}', "end without"),
        (b'{"workload": []}', "workload without promises and laws"),
        (b'{"workload": {"promises": [], "laws": {"prompt": [1]}}}', "not 100 numbers"),
        (b'{"workload": {"promises": [{}], "laws": {}}}', "promise without"),
    ],
)
def test_a_wrong_promise_or_end_names_its_line(tmp_path, line, said):
    path = tmp_path / "ledger.jsonl"
    LedgerWriter(path, header()).close()
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(LedgerError, match=f"ledger.jsonl:2: .*{said}"):
        read(path)


class SmallDisk:
    """Takes so many bytes, and then none until there is room."""

    def __init__(self, room: int) -> None:
        self.room, self.taken = room, b""

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: self.room]
        self.taken += part
        self.room -= len(part)
        return len(part)

    def close(self) -> None:
        pass


def test_what_does_not_fit_is_kept_said_once_and_written_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said: list[OSError] = []
    writer = LedgerWriter(tmp_path / "ledger.jsonl", header(), said.append)
    head = (tmp_path / "ledger.jsonl").read_bytes()
    disk = SmallDisk(room=100)
    monkeypatch.setattr(writer, "_file", disk)
    for turn in range(3):
        writer.write(turn_record(turn=turn))
    assert [error.errno for error in said] == [errno.ENOSPC]
    assert len(disk.taken) == 100 and writer.unsaved.count(b"\n") == 3
    disk.room = 1 << 20
    writer.write(turn_record(turn=3))
    writer.close()
    assert writer.unsaved == b""
    (tmp_path / "ledger.jsonl").write_bytes(head + disk.taken)
    assert [record.turn for record in read(tmp_path / "ledger.jsonl").records] == [0, 1, 2, 3]
    assert len(said) == 1


def test_where_nobody_is_told_a_full_disk_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    writer = LedgerWriter(tmp_path / "ledger.jsonl", header())
    monkeypatch.setattr(writer, "_file", SmallDisk(room=0))
    with pytest.raises(OSError, match="No space left"):
        writer.write(turn_record())

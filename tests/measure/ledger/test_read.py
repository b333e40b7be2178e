import json
import tempfile
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ledgers import ENDING, LEVEL, as_stored, turns, written
from tests.support.records import header, healths, levels, turn_record, turn_records
from tokenswarm.measure.ledger import Ledger, LedgerError, LedgerWriter, read
from workload.fidelity import workload
from workload.profiles import SEED


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


def test_a_level_written_again_with_its_end_replaces_the_first(tmp_path):
    ended = replace(LEVEL, ended_at_s=60.0)
    path = written(tmp_path / "ledger.jsonl", levels=[LEVEL, ended])
    assert read(path).levels == [ended]


def test_chunk_gaps_are_kept_to_a_tenth_of_a_millisecond(tmp_path):
    path = written(tmp_path / "ledger.jsonl", [turn_record(chunk_gaps_s=(0.020149, 1 / 3))])
    assert read(path).records[0].chunk_gaps_s == (0.0201, 0.3333)
    assert read(path, chunk_gaps=False).records[0].chunk_gaps_s == ()


def test_gaps_are_left_out_of_a_line_with_spaces_too(tmp_path):
    path = written(tmp_path / "ledger.jsonl", [turn_record(chunk_gaps_s=(0.02, 0.03))])
    spaced = [json.dumps(orjson.loads(line)) for line in path.read_bytes().splitlines()]
    path.write_text("".join(f"{line}\n" for line in spaced))
    assert read(path).records == [turn_record(chunk_gaps_s=(0.02, 0.03))]
    assert read(path, chunk_gaps=False).records == [turn_record(chunk_gaps_s=())]


def test_a_field_of_a_later_version_is_left_out(tmp_path):
    path = written(tmp_path / "ledger.jsonl", turns(1))
    path.write_bytes(path.read_bytes().replace(b'{"turn":{', b'{"turn":{"colour":"red",'))
    assert read(path).records == turns(1)


def test_a_broken_health_line_names_its_field(tmp_path):
    path = written(tmp_path / "ledger.jsonl")
    with path.open("a") as file:
        file.write('{"health": {"process": "local"}}\n')
    with pytest.raises(LedgerError, match=r":2: .*missing required field `at_s` - at `\$.health`"):
        read(path)


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
        (b"[1]", "Expected `object`, got `array`"),
        (b'{"other": 1}', "unknown field `other`"),
        (b"{}", "a line without turn, level, health, workload or end"),
        (b'{"turn": 7}', "Expected `object | null`, got `int` - at `$.turn`"),
        (b'{"turn": {"session": "a"}}', "missing required field `turn` - at `$.turn`"),
        (b'{"level": {"index": "a"}}', "Expected `int`, got `str` - at `$.level.index`"),
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
        ("prompt_tokens", "many", "Expected `int | null`, got `str` - at `$.turn.prompt_tokens`"),
        ("scheduled_at_s", None, "Expected `float`, got `null` - at `$.turn.scheduled_at_s`"),
        ("turn", True, "Expected `int`, got `bool` - at `$.turn.turn`"),
        ("outcome", "fine", "outcome 'fine' is not one of"),
        ("chunk_gaps_s", ["a"], "got `str` - at `$.turn.chunk_gaps_s[0]`"),
        ("chunk_gaps_s", None, "got `null` - at `$.turn.chunk_gaps_s`"),
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
        (b'{"header": {"format": 1}}\n', "missing required field `run`"),
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


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"end": {"at_s": 1.0}}', "missing required field `salted`"),
        (b'{"workload": []}', "got `array` - at `\\$.workload`"),
        (
            b'{"workload": {"promises": [], "laws": {"prompt": [1]}}}',
            "has 1 numbers, not 100",
        ),
        (
            b'{"workload": {"promises": [{}], "laws": {}}}',
            "field `quantity` - at `\\$.workload.promises",
        ),
    ],
)
def test_a_wrong_promise_or_end_names_its_line(tmp_path, line, said):
    path = tmp_path / "ledger.jsonl"
    LedgerWriter(path, header()).close()
    with path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(LedgerError, match=f"ledger.jsonl:2: .*{said}"):
        read(path)

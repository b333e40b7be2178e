import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import orjson
import pytest

from tests.support.ledgers import turns, written
from tests.support.records import header, turn_record
from tokenswarm.measure.ledger import LedgerWriter, read


def test_the_header_is_plain_json_with_its_format(tmp_path):
    path = written(tmp_path / "ledger.jsonl", worker=3)
    stored = orjson.loads(path.read_bytes().splitlines()[0])["header"]
    assert stored["format"] == 1
    assert stored["worker"] == 3
    assert stored["started_at"] == 1_750_000_000.25
    assert stored["fingerprint"]["profile_hash"] == "aa11"
    assert stored["target"]["simulated"] is True


def test_half_a_surrogate_pair_from_a_server_loses_no_turn(tmp_path):
    path = written(tmp_path / "ledger.jsonl", [turn_record(detail="bad \ud800")])
    assert read(path).records[0].detail == "bad ?"


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
    root = Path(__file__).parents[3]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=root, env={**os.environ, "PYTHONPATH": "."}
    )
    assert killed.returncode == -signal.SIGKILL
    assert [record.turn for record in read(path).records] == list(range(50))


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

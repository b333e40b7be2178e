"""A finding is simulated once for each machine, and anew for whatever it depends on."""

from dataclasses import replace

import pytest

from workload import fidelity
from workload.kept import kept
from workload.profiles import SEED, SMALL


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("TOKENSWARM_CACHE", str(folder))
    return folder


class Finding:
    def __init__(self):
        self.times = 0

    def __call__(self):
        self.times += 1
        return {"mean": 0.1 + 0.2, "times": self.times}


def test_the_second_time_it_is_read():
    find = Finding()
    first = kept("rate", SEED, find)
    assert kept("rate", SEED, find) == first == {"mean": 0.1 + 0.2, "times": 1}


def test_another_question_or_profile_is_found_anew():
    find = Finding()
    kept("rate", SEED, find)
    kept("mean", SEED, find)
    kept("rate", replace(SEED, end_hazard=0.25), find)
    assert find.times == 3


def test_other_code_of_the_room_finds_anew(monkeypatch):
    find = Finding()
    kept("rate", SEED, find)
    monkeypatch.setattr("workload.kept._code", lambda: "other")
    kept("rate", SEED, find)
    assert find.times == 2


def test_a_torn_file_is_found_anew(folder):
    find = Finding()
    kept("rate", SEED, find)
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert kept("rate", SEED, find)["times"] == 2
    assert kept("rate", SEED, find)["times"] == 2


def test_a_folder_that_cannot_be_had_costs_time_alone(folder):
    folder.write_text("a file")
    find = Finding()
    assert [kept("rate", SEED, find)["times"] for _ in range(2)] == [1, 2]


def test_what_a_profile_promises_is_the_same_from_disk():
    read = [fidelity.workload.__wrapped__(SMALL) for _ in range(2)]
    assert read[0] == read[1] == fidelity._simulated(SMALL, True)

"""A profile's promise is simulated once for each state of the code."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from workload import fidelity, kept_promise
from workload.figures import Workload
from workload.kept_promise import promise_of
from workload.profiles import SEED, SMALL

SIMULATED = fidelity.workload(SMALL)


@pytest.fixture(autouse=True)
def simulations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the profiles that were simulated."""
    names: list[str] = []

    def simulate(profile: object) -> Workload:
        names.append(getattr(profile, "name", ""))
        return SIMULATED

    monkeypatch.setattr(fidelity, "workload", simulate)
    monkeypatch.setenv("TOKENSWARM_CACHE", str(tmp_path / "cache"))
    return names


def asked(profile=SMALL) -> Workload:
    """As by a process that has just begun."""
    promise_of.cache_clear()
    return promise_of(profile)


def test_it_is_simulated_once_and_read_with_every_digit(simulations):
    assert [asked(), asked()] == [SIMULATED] * 2
    assert simulations == ["small"]


def test_another_profile_and_another_code_have_their_own(simulations, monkeypatch):
    asked()
    asked(replace(SMALL, name="mine"))
    asked(SEED)
    asked(replace(SEED, targets=()))
    monkeypatch.setattr(kept_promise, "_code", lambda: "changed")
    asked()
    assert simulations == ["small", "mine", "seed", "seed", "small"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"promises": [{"quantity": 1}], "laws": {}}'])
def test_a_file_that_is_none_of_these_is_replaced(simulations, tmp_path, content):
    asked()
    (file,) = (tmp_path / "cache").iterdir()
    file.write_text(content)
    assert asked() == SIMULATED and asked() == SIMULATED
    assert simulations == ["small", "small"]


def test_a_folder_that_cannot_be_written_is_no_matter(simulations, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TOKENSWARM_CACHE", str(tmp_path / "file" / "below"))
    assert [asked(), asked()] == [SIMULATED] * 2
    assert simulations == ["small", "small"]

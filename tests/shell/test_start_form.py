"""What the start form of our page offers: what its locustfile reads, and no more."""

from __future__ import annotations

from locust.env import Environment

import sys
from types import SimpleNamespace
from typing import Any

import pytest

import tokenswarm.shell.wiring  # noqa: F401 - its options join Locust's parser
from exporters.web.tab import Field
from tests.support.deployed_commands import parsed_locust
from tokenswarm.shell import start_form
from workload.profiles import PROFILES

SHAPES = {
    "agents": None,
    "ladder": SimpleNamespace(open_mode=True),
    "capacity": SimpleNamespace(open_mode=True, searches=True),
}
NEVER = {"runs", "corpus", "ca_file", "insecure", "trust_remote_code", "extra_body", "pushgateway"}


@pytest.fixture(autouse=True)
def _no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Locust's parser reads this process's command line, which is pytest's."""
    monkeypatch.setattr(sys, "argv", ["locust"])


def form(name: str, *options: str) -> dict[str, Field]:
    command = ("locust", "-f", "locustfiles/coding_agents.py", *options)
    environment = Environment(parsed_options=parsed_locust(command), host="http://127.0.0.1:9")
    shape: Any = SHAPES[name]
    environment.shape_class = shape
    return {field.name: field for field in start_form.fields(environment)}


@pytest.mark.parametrize(
    ("name", "first", "there", "not_there"),
    [
        ("agents", "tpm", {"user_count", "ramp"}, {"levels", "hold", "search_from"}),
        ("ladder", "levels", {"hold", "drain"}, {"tpm", "user_count", "search_from"}),
        ("capacity", "search_from", {"search_to", "tolerance"}, {"tpm", "user_count", "levels"}),
    ],
)
def test_it_has_what_the_locustfile_reads_and_no_others(name, first, there, not_there):
    fields = form(name)
    assert next(iter(fields)) == first
    assert there | {"profile", "objectives", "host", "seed", "gpus", "run_name"} <= fields.keys()
    assert not (not_there | NEVER) & fields.keys()
    assert all(field.help and field.label for field in fields.values())


def test_the_profile_is_chosen_from_those_there_are():
    assert set(form("agents")["profile"].choices) == set(PROFILES)
    assert form("agents", "--profile", "mine.toml")["profile"].choices[0] == "mine.toml"


def test_values_are_those_that_stand_now():
    fields = form("agents", "--tpm", "2M", "--slo", "ttft_p50<1s", "--slo", "failures<1%")
    assert fields["tpm"].value == "2M" and fields["tpm"].label == "TPM"
    assert fields["objectives"].value == "ttft_p50<1s,failures<1%"
    assert fields["user_count"].value == "" and fields["user_count"].empty == ("8", "300")
    assert (fields["warm"].kind, fields["warm"].value) == ("check", "")

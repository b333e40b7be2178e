"""The API key goes to the endpoint, and nowhere else."""

import pytest

from measure.ledger import read_run
from tests.e2e.stack import LADDER, Stack, free_port

KEY = "secret-key-8f3a"


@pytest.mark.parametrize("forked", [False, True])
def test_no_file_and_no_output_holds_the_key(stack: Stack, forked: bool) -> None:
    url = stack.engine("--speed", "20", key=KEY)
    name = "forked" if forked else "alone"
    run = ("--host", url, "--run-name", name, "--levels", "2M", "--hold", "40s", "--drain", "60s")
    port = str(free_port())
    cluster = ("--processes", "2", "--master-bind-port", port, "--master-port", port)
    report = stack.runs.parent / f"{name}.html"
    finished = stack.locust(
        LADDER, *run, "--loglevel", "DEBUG", "--html", str(report), *cluster * forked, key=KEY
    )
    assert finished.ran, finished.printed.replace(KEY, "<KEY>")
    assert read_run(stack.runs / name).records  # the key was sent and taken
    assert KEY not in finished.printed
    assert report.exists()
    # The engine's and Locust's output, the report, the run: every file of this stack.
    for path in stack.runs.parent.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.records import header
from tests.support.runs import ladder_run
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.measure.ledger import Ledger

ROOT = Path(__file__).parents[2]
# Half of the second level is refused, more than a gate lets pass without being told.
LOOSE = ("--slo", "failures<60%")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two levels: TTFT p50 between 1 and 2 s, then above 10 s."""
    return stored(tmp_path_factory.mktemp("runs"), ladder_run(targets_tpm=(1e6, 4e6)))


def test_the_table_is_printed_again(run, capsys):
    assert main(["report", str(run), *LOOSE]) == 0
    assert "SIMULATED by sim:trtllm-like" in capsys.readouterr().out


def test_one_ledger_file_will_do(run, capsys):
    assert main(["report", str(run / "ledger.jsonl"), *LOOSE]) == 0
    assert "achieved" in capsys.readouterr().out


def test_a_missed_slo_exits_1_and_says_at_which_level(run, capsys):
    assert main(["report", str(run), "--slo", "ttft_p50<5s", "--slo", "ttft_p99<1000s"]) == 1
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if line.startswith("ttft_p50<5s"))
    assert " met " in row and "MISSED" in row
    assert "goodput" in out


def test_met_slos_exit_0(run):
    assert (
        main(["report", str(run), "--slo", "ttft_p50<1000s", "--slo", "hit_share>1%", *LOOSE]) == 0
    )


def test_a_level_that_lost_half_of_its_turns_exits_1_though_nobody_asked(run, capsys):
    assert main(["report", str(run)]) == 1
    assert "level 1 lost 48.5% of its turns, and the gate allows 10%" in capsys.readouterr().out


def test_an_slo_that_cannot_be_judged_exits_3_and_says_why(run, capsys):
    assert main(["report", str(run), "--slo", "ttft_p99<1000s", *LOOSE]) == 3
    assert "a p99 needs 662" in capsys.readouterr().out


def test_an_unreadable_slo_exits_2(run, capsys):
    assert main(["report", str(run), "--slo", "speed>9"]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "SLO 'speed>9'" in streams.err


def test_a_plot_is_drawn(run, tmp_path):
    assert main(["report", str(run), "--plot", str(tmp_path / "a.svg"), *LOOSE]) == 0
    assert (tmp_path / "a.svg").exists()
    assert main(["report", str(run), "--plot", str(tmp_path / "a.bmp")]) == 2


def test_a_broken_line_exits_2_and_names_file_and_line(tmp_path, capsys):
    ledger = ladder_run(targets_tpm=(1e6,))
    path = stored(tmp_path, ledger) / "ledger.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], b"{broken\n", *lines[4:]]))
    assert main(["report", str(tmp_path)]) == 2
    assert f"{path}:5: not a line of JSON" in capsys.readouterr().err


@pytest.mark.parametrize("name", ("missing", "missing/ledger.jsonl"))
def test_a_run_that_is_not_there_exits_2(tmp_path, capsys, name):
    assert main(["report", str(tmp_path / name)]) == 2
    assert "no ledger" in capsys.readouterr().err


def test_a_run_without_turns_is_reported_and_invalid(tmp_path, capsys):
    assert main(["report", str(stored(tmp_path, Ledger(header())))]) == 4
    out = capsys.readouterr().out
    assert "0 turns" in out and "INVALID" in out and "not a single turn was sent" in out


def test_measure_and_report_load_without_gevent_or_locust():
    script = (
        "import sys, tokenswarm.commands.report\n"
        "import tokenswarm.report.figures.plot, tokenswarm.report.files.summary\n"
        "assert not {'gevent', 'locust'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)

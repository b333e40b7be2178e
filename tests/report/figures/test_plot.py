from dataclasses import replace

import pytest

from tests.support.records import header
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.report.analysis.result import result
from tokenswarm.report.figures.plot import plot

LADDER = result(ladder_run(targets_tpm=(1e6, 3.5e6)))


def test_the_extension_chooses_the_format(tmp_path):
    plot(tmp_path / "a.png", LADDER)
    plot(tmp_path / "a.svg", LADDER)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "a.svg").read_text()


def test_the_same_run_gives_the_same_file(tmp_path):
    for name in ("a.svg", "b.svg"):
        plot(tmp_path / name, LADDER)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_only_a_simulated_run_is_watermarked(tmp_path):
    target = replace(header().target, simulated=False)
    real = result(replace(LADDER.ledger, header=replace(header(), target=target)))
    plot(tmp_path / "simulated.svg", LADDER)
    plot(tmp_path / "real.svg", real)
    assert ">simulated</text>" in (tmp_path / "simulated.svg").read_text()
    assert "simulated" not in (tmp_path / "real.svg").read_text().lower()


def test_a_run_without_turns_is_drawn_too(tmp_path):
    plot(tmp_path / "empty.png", result(Ledger(header(), [], [])))
    assert (tmp_path / "empty.png").stat().st_size > 0


def test_another_extension_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in .png or .svg"):
        plot(tmp_path / "a.txt", LADDER)
    assert not list(tmp_path.iterdir())

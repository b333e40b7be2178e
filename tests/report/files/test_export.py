import csv

import orjson
import pytest

from tests.support.records import header
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.result import result
from tokenswarm.report.files.export import DRAWINGS, export

FOUND = result(ladder_run(targets_tpm=(1e6, 3.5e6)), [Slo.parse("ttft_p50<5s")])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "new" / "folder"
    export(path, FOUND)
    return path


def rows(folder, name):
    with (folder / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_there_twice_with_the_same_content(folder):
    for name in ("levels", "objectives", "failures", "checks", "bills"):
        written = rows(folder, name)
        stored = orjson.loads((folder / f"{name}.json").read_bytes())
        assert [list(row) for row in written] == [list(row) for row in stored]
        assert [list(row.values()) for row in written] == [
            ["" if value is None else str(value) for value in row.values()] for row in stored
        ]


def test_numbers_are_whole_and_intervals_have_columns_of_their_own(folder):
    for row, point in zip(rows(folder, "levels"), FOUND.curve.points, strict=True):
        assert row["achieved_tpm"] == str(point.achieved_tpm.value)
        assert row["achieved_tpm_low"] == str(point.achieved_tpm.low)
        assert row["ttft_p50_s"] == str(point.ttft_p50_s.value)
        assert int(row["failed"]) == point.summary.failed


def test_every_row_says_that_it_is_simulated(folder):
    for path in folder.glob("*.csv"):
        assert {row["simulated"] for row in rows(folder, path.stem)} == {"True"}


def test_every_figure_is_there_as_svg_and_png_and_says_that_it_is_simulated(folder):
    for drawing in DRAWINGS:
        assert ">simulated</text>" in (folder / f"{drawing.name}.svg").read_text()
        assert (folder / f"{drawing.name}.png").read_bytes().startswith(b"\x89PNG")


def test_an_empty_run_has_its_checks_and_empty_figures(tmp_path):
    export(tmp_path, result(Ledger(header())))
    assert rows(tmp_path, "checks")
    assert not (tmp_path / "failures.csv").exists()
    assert (tmp_path / "timeline.svg").exists()

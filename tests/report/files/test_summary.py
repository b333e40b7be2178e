import orjson
import pytest

from tests.support.runs import ladder_run
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.result import result
from tokenswarm.report.files.summary import write_summary

LADDER = ladder_run(targets_tpm=(1e6, 3.5e6))
FOUND = result(LADDER, [Slo.parse("ttft_p50<5s")])


def test_the_summary_holds_header_levels_and_the_whole_run(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, FOUND)
    stored = orjson.loads(path.read_bytes())
    assert stored["header"]["target"]["simulated"] is True
    assert stored["header"]["fingerprint"]["seed"] == 1
    assert [entry["level"]["target_tpm"] for entry in stored["levels"]] == [1e6, 3.5e6]
    first = stored["levels"][0]["summary"]
    assert first["window"] == [144.0, 480.0]
    assert first["ttft_s"]["p50"] == FOUND.steps[0].summary.ttft_s.p50
    assert first["ttft_s"]["count"] == FOUND.steps[0].summary.ttft_s.count
    assert stored["whole_run"]["requests"] == len(LADDER.records)
    assert stored["whole_run"]["failed"] == FOUND.whole.failed
    assert stored["whole_run"]["failure_share"] == FOUND.whole.failure_share


def test_the_summary_holds_verdict_and_curve(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, FOUND)
    stored = orjson.loads(path.read_bytes())
    assert stored["verdict"]["grade"] == FOUND.verdict.grade
    assert len(stored["verdict"]["checks"]) == len(FOUND.verdict.checks)
    unchecked = {c["name"] for c in stored["verdict"]["checks"] if c["grade"] is None}
    assert "workers" in unchecked
    points = stored["curve"]["points"]
    assert points[0]["ttft_p50_s"]["low"] == FOUND.curve.points[0].ttft_p50_s.low
    assert stored["curve"]["capacities"][0]["bound"] == FOUND.curve.capacities[0].bound


def test_a_summary_is_replaced_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    write_summary(path, FOUND)
    assert orjson.loads(path.read_bytes())["format"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_summary_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OSError):
        write_summary(tmp_path / "summary.json", FOUND)
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]

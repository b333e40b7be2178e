import orjson
import pytest

from report.steps import steps, whole_run
from report.summary import write_summary
from tests.runs import ladder_run

LADDER = ladder_run(targets_tpm=(1e6, 3.5e6))


def test_the_summary_holds_header_levels_and_the_whole_run(tmp_path):
    path, levels, whole = tmp_path / "summary.json", steps(LADDER), whole_run(LADDER)
    write_summary(path, LADDER, levels, whole)
    stored = orjson.loads(path.read_bytes())
    assert stored["header"]["target"]["simulated"] is True
    assert stored["header"]["fingerprint"]["seed"] == 1
    assert [entry["level"]["target_tpm"] for entry in stored["levels"]] == [1e6, 3.5e6]
    first = stored["levels"][0]["summary"]
    assert first["window"] == [144.0, 480.0]
    assert first["ttft_s"]["p50"] == levels[0].summary.ttft_s.p50
    assert first["ttft_s"]["count"] == levels[0].summary.ttft_s.count
    assert stored["whole_run"]["requests"] == len(LADDER.records)
    assert stored["whole_run"]["failed"] == whole.failed
    assert stored["whole_run"]["failure_share"] == whole.failure_share


def test_a_summary_is_replaced_whole_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "summary.json"
    path.write_text("old")
    write_summary(path, LADDER, steps(LADDER), whole_run(LADDER))
    assert orjson.loads(path.read_bytes())["format"] == 1
    assert list(tmp_path.iterdir()) == [path]


def test_a_summary_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OSError):
        write_summary(tmp_path / "summary.json", LADDER, steps(LADDER), whole_run(LADDER))
    assert [path.name for path in tmp_path.iterdir()] == ["summary.json"]

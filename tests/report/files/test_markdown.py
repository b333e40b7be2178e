"""The summary for pull requests. UPDATE_GOLDEN=1 writes the golden file anew."""

import os
from dataclasses import replace
from pathlib import Path

from tests.support.records import header
from tests.support.runs import ladder_run
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.result import result
from tokenswarm.report.files.markdown import summary

GOLDEN = Path(__file__).parents[1] / "text" / "golden" / "ladder.md"
SLOS = (Slo.parse("ttft_p50<5s"), Slo.parse("failures<1%"))
LADDER = ladder_run(targets_tpm=(1e6, 2e6, 3.5e6))


def test_the_summary_is_the_golden_one():
    text = summary(result(LADDER, SLOS), "Against the baseline runs/main:\nttft_p50=10%: ok")
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text()


def test_a_hostile_name_is_only_text_in_one_line():
    target = replace(header().target, engine="<script>\n| a | `b`", simulated=False)
    text = summary(result(replace(LADDER, header=header(target=target, run="`x`"))))
    assert "<script>" not in text and "&lt;script&gt; | a | `b`" in text
    assert "Run `x`" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows}) == 1


def test_an_empty_run_says_so_and_has_no_levels_to_show():
    text = summary(result(Ledger(header())))
    assert text.startswith("### No turn was sent")
    assert "**Verdict: INVALID" in text

"""The page, parsed: whole, alone, in the numbers of the summary, and safe with hostile input."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import orjson
import pytest

from tests.support.records import failed_record, fingerprint, header, turn_record
from tests.support.runs import ladder_run
from tokenswarm.measure.ending import Ending
from tokenswarm.measure.ledger import Ledger
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.result import result
from tokenswarm.report.figures.canvas import COLOURS, drawn, look
from tokenswarm.report.figures.curves import CURVES
from tokenswarm.report.figures.timeline import MOST_DOTS, TIMELINE, sampled
from tokenswarm.report.files.page import page, write_page
from tokenswarm.report.files.summary import contents
from tokenswarm.report.files.svg import svg_text
from workload.fidelity import workload
from workload.profiles import SEED

SLOS = (Slo.parse("ttft_p50<5s"), Slo.parse("failures<1%"))
ENDING = Ending(
    at_s=1.0,
    salted=True,
    workers=None,
    workers_lost=0,
    workers_unreported=0,
    engine_lateness_p99_s=0.001,
    engine_arrival_lateness_p99_s=None,
)
LADDER = replace(ladder_run(targets_tpm=(1e6, 2e6, 3.5e6)), workload=workload(SEED), ending=ENDING)
FOUND = result(LADDER, SLOS)
VOID = {"meta", "link", "path", "use", "br", "rect", "line", "circle"}


class Page(HTMLParser):
    """Tags and cells of a page; `unclosed` is empty at the end of a whole one."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.unclosed: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: dict[str, list[dict[str, str]]] = {}
        self._table = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.tags.append((tag, known))
        if tag not in VOID:
            self.unclosed.append(tag)
        if tag == "table":
            self._table = known["id"] or ""
            self.cells[self._table] = []
        if tag == "tr":
            self.cells.setdefault(self._table, []).append({})
        if tag == "td":
            self.cells[self._table][-1][known["data-key"] or ""] = known["data-value"] or ""

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.unclosed.pop() == tag

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def rows(self, table: str) -> list[dict[str, str]]:
        return [row for row in self.cells[f"table-{table}"] if row]


@pytest.fixture(scope="module")
def html() -> str:
    return page(FOUND)


def test_the_page_is_whole(html):
    assert html.lstrip().startswith("<!doctype html>")
    assert Page(html).unclosed == []


def test_the_page_needs_nothing_from_anywhere(html):
    tags = Page(html).tags
    assert not [tag for tag, _ in tags if tag in ("script", "iframe", "img", "object", "base")]
    for tag, attributes in tags:
        for name in ("src", "href", "xlink:href", "action"):
            target = attributes.get(name) or ""
            assert target.startswith(("#", "data:")) or not target, (tag, target)
    assert "@import" not in html and "url(http" not in html


def test_every_picture_is_told_in_words(html):
    pictures = [attributes for tag, attributes in Page(html).tags if tag == "svg"]
    assert len(pictures) == 6 + 2 + 3
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


def test_ids_are_unique(html):
    ids = [attributes["id"] for _, attributes in Page(html).tags if attributes.get("id")]
    assert len(ids) == len(set(ids))


def test_the_levels_are_those_of_the_summary(html):
    rows = Page(html).rows("levels")
    stored = orjson.loads(orjson.dumps(contents(FOUND)))
    assert len(rows) == len(stored["levels"]) == 3
    for row, level, point in zip(rows, stored["levels"], stored["curve"]["points"], strict=True):
        for key in (
            *("offered_tpm", "achieved_tpm", "ttft_p50_s", "ttft_p95_s", "ttft_p99_s", "goodput"),
        ):
            assert row[key] == _written(point[key]["value"]), key
        assert int(row["turns"]) == level["summary"]["requests"]
        assert int(row["failed"]) == level["summary"]["failed"]


def _written(value: float | None) -> str:
    return "" if value is None else str(value)


def test_the_answers_have_speeds_times_and_output_of_all_users_and_per_gpu(html):
    points = zip(Page(html).rows("answers"), FOUND.curve.points, strict=True)
    for row, point in points:
        summary = point.summary
        assert row["hit_share"] == _written(point.hit_share.value)
        assert row["decode_tps_p10"] == _written(summary.decode_tps.p10)
        assert row["tpot_p50_s"] == _written(summary.tpot_s.p50)
        assert row["e2e_p90_s"] == _written(summary.e2e_s.p90)
        assert row["output_tps"] == _written(summary.output_tps)
        assert float(row["output_tps_per_gpu"]) == pytest.approx(float(row["output_tps"]) / 4)


def test_what_it_was_measured_on_says_how_it_was_started_held_and_judged():
    command = "locust -f tpm_ladder.py --slo 'ttft_p50<5s'"
    started = replace(LADDER, header=replace(LADDER.header, command=command))
    said = page(result(started, SLOS))
    assert "<span>-f tpm_ladder.py</span> <span>--slo &#39;ttft_p50&lt;5s&#39;</span>" in said
    assert "<dt>levels</dt><dd>3, each held 8.0 minutes</dd>" in said
    assert "<dt>warm-up</dt><dd>the first 30% of each level" in said
    assert "<dt>objectives</dt><dd>TTFT p50 &lt; 5 s, failures &lt; 1%</dd>" in said
    assert "none asked for; TTFT p50 &lt; 1 s stands in" in page(result(LADDER))


def test_an_objective_on_speed_has_its_line_in_the_picture_of_speeds():
    def texts(slo: str) -> str:
        found = result(LADDER, [Slo.parse(slo)])
        with look():
            return svg_text(drawn(next(d for d in CURVES if d.name == "speed"), found))

    assert "TPS p50 &gt; 40" in texts("tps_p50>40")
    assert "&gt; 40" not in texts("ttft_p50<1s")


def test_the_checks_are_those_of_the_summary(html):
    rows = Page(html).rows("checks")
    checks = contents(FOUND)["verdict"]["checks"]
    assert [(row["check"], row["grade"] or None) for row in rows] == [
        (check["name"], check["grade"]) for check in checks
    ]
    assert f"Verdict: <span>{FOUND.verdict.grade}" in html


def test_the_workload_is_that_of_the_summary(html):
    rows = Page(html).rows("workload")
    assert [(row["quantity"], float(row["target"])) for row in rows] == [
        (row.quantity, row.target) for row in FOUND.workload
    ]


def test_a_simulated_run_says_so_and_a_real_one_does_not(html):
    target = replace(header().target, simulated=False, engine="vllm")
    real = page(result(Ledger(header(target=target, speed=1.0))))
    assert html.count("SIMULATED") >= 5
    assert "simulated" not in real.lower().replace("as for the embedded engine", "")


def test_what_a_baseline_said_is_on_the_page():
    found = page(
        result(Ledger(header())), "Against the baseline runs/main:\nttft_p50=10%: REGRESSED"
    )
    assert "<h3>Gate</h3>" in found and "<li>Against the baseline runs/main:</li>" in found
    assert "<li>ttft_p50=10%: REGRESSED</li>" in found


HOSTILE = '<script>alert("x")</script>"\'&{{ 7*7 }}$a$ \\frac{1}{0}'


def test_a_hostile_name_is_only_text():
    target = replace(header().target, model=HOSTILE, engine=HOSTILE, url=f"http://{HOSTILE}")
    mark = fingerprint(profile=HOSTILE, tokenizer=HOSTILE)
    found = page(result(Ledger(header(run=HOSTILE, target=target, fingerprint=mark))))
    parsed = Page(found)
    assert "script" not in {tag for tag, _ in parsed.tags}
    assert "&lt;script&gt;" in found and "<script" not in found
    assert "{{ 7*7 }}" in found
    assert parsed.unclosed == []


def test_half_a_surrogate_pair_in_a_name_does_not_stop_the_page(tmp_path):
    target = replace(header().target, engine="half \ud800 pair")
    write_page(tmp_path / "a.html", result(Ledger(header(target=target))))
    assert "half ? pair" in (tmp_path / "a.html").read_text()


def all_failed() -> Ledger:
    run = ladder_run(targets_tpm=(1e6,))
    records = [failed_record("http_5xx", session=f"w0.u{n}.s0", level=0) for n in range(30)]
    return replace(run, records=records)


def without_usage() -> Ledger:
    run = ladder_run(targets_tpm=(1e6,))
    unknown = dict(prompt_tokens=None, cached_tokens=None, output_tokens=None)
    return replace(run, records=[replace(record, **unknown) for record in run.records])


@pytest.mark.parametrize(
    ("ledger", "said"),
    [
        (Ledger(header()), "No turn was sent: this run says nothing about the endpoint."),
        (all_failed(), "No turn showed a first token; 30 of 30 failed (30 http_5xx)."),
        (without_usage(), "the server reports no cached tokens"),
        (
            Ledger(header(), [turn_record()]),
            "Too few turns to claim that: level 0: 1 samples",
        ),
        (ladder_run(targets_tpm=(1e6,)), "or more with TTFT p50 &lt; 5 s"),
        (ladder_run(targets_tpm=(4e6,)), "misses TTFT p50 &lt; 5 s at every level tried"),
    ],
    ids=["empty", "all failed", "no usage", "one turn", "one level", "overloaded"],
)
def test_a_run_with_little_to_say_says_so(ledger, said):
    found = page(result(ledger, [Slo.parse("ttft_p50<5s")]))
    assert said in found
    assert Page(found).unclosed == []
    assert ">nan<" not in found and ">None<" not in found and ">inf<" not in found


def test_a_run_of_many_turns_is_drawn_by_some_of_them_and_says_so():
    run = ladder_run(targets_tpm=(1e6,))
    many = [
        replace(run.records[n % len(run.records)], session=f"w0.u{n}.s0")
        for n in range(MOST_DOTS + 500)
    ]
    assert len(sampled(many)) == MOST_DOTS
    assert sampled(many) == sampled(many)
    found = page(result(replace(run, records=many)))
    assert f"{MOST_DOTS:,} of {len(many):,} turns are drawn" in found


def test_the_same_run_gives_the_same_picture(html):
    with look():
        first, second = (svg_text(drawn(TIMELINE, FOUND)) for _ in range(2))
    assert first == second


def test_pictures_follow_the_pages_colours(html):
    pictures = html[html.index("<svg") :]
    assert "var(--ink)" in pictures
    assert not [colour for colour in COLOURS.values() if colour in pictures]


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError):
        write_page(tmp_path / "report.html", result(Ledger(header())))
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]

"""Several runs as one page, as Markdown and as files."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from matplotlib.figure import Figure

from tests.report.files.test_page import HOSTILE, Page
from tests.support.known_truth import known_run, queue_ttft_s
from tests.support.records import header
from tests.support.stored_runs import stored
from tokenswarm.__main__ import main
from tokenswarm.measure.slo import Slo
from tokenswarm.measure.verdict import INVALID, VALID, Check, Limits, Verdict
from tokenswarm.report.analysis.compare import StoredRun, compare
from tokenswarm.report.analysis.interval import Interval
from tokenswarm.report.analysis.prices import read_prices
from tokenswarm.report.analysis.rounds import open_runs
from tokenswarm.report.figures import side_by_side as figures
from tokenswarm.report.figures.canvas import look
from tokenswarm.report.files.compare_files import compare_markdown
from tokenswarm.report.files.compare_page import compare_page
from tokenswarm.report.text import costs, side_by_side
from tokenswarm.report.text.costs import Rates

LOADS = [1e6, 2e6, 2.5e6]
SLOS = (Slo.parse("ttft_p50<2s"),)
PRICE = read_prices()["claude-opus-4-6"]
RATES = Rates({"": 4.5, "slow": 9.0}, (PRICE,))


def verdict(grade):
    limits = Limits(suspect=None, invalid=None, unit="share", source="guess")
    return Verdict((Check(name="CPU", grade=grade, figure=1.0, limits=limits, finding="busy",
                          mend="wait"),))  # fmt: skip


def run(name, factor=1.0, grade=VALID, **target):
    ledger = known_run(LOADS, lambda load: factor * queue_ttft_s(load))
    values: dict[str, Any] = {"engine": f"engine-{name}", "simulated": False, "gpus": 4} | target
    of = replace(header().target, **values)
    ledger = replace(ledger, header=replace(ledger.header, target=of, speed=1.0))
    return StoredRun(Path(f"runs/{name}"), ledger, verdict=verdict(grade), called=name)


FAST, SLOW = run("fast"), run("slow", 1.5, gpus=8)
BAD = run("bad", 0.5, INVALID)
PAIR = compare([FAST, SLOW], 2e6, SLOS)
TRIPLE = compare([FAST, SLOW, BAD], 2e6, SLOS)


def column(table, key):
    at = [column.key for column in table.columns].index(key)
    return [row[at] for row in table.rows]


def test_the_page_is_whole_needs_nothing_and_tells_every_picture_in_words():
    parsed = Page(compare_page(TRIPLE, RATES))
    assert parsed.unclosed == []
    pictures = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(pictures) == len(figures.SIDE_BY_SIDE) == 6
    assert all(picture["aria-label"] for picture in pictures)
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "img", "iframe")]
    assert {row["target"] for row in parsed.rows("headline")} == {
        f"{name} (engine-{name})" for name in ("fast", "slow", "bad")
    }


def test_the_page_has_the_numbers_of_the_comparison():
    rows = Page(compare_page(PAIR, RATES)).rows("headline")
    for row, at in zip(rows, PAIR.chosen.points, strict=True):
        assert row["ttft_p50_s"] == str(at.ttft_p50_s.value)
        assert row["achieved_tpm"] == str(at.achieved_tpm.value)


def test_an_invalid_run_is_marked_in_every_table_and_picture_and_nothing_is_claimed_of_it():
    page = compare_page(TRIPLE, RATES)
    assert page.count("bad (INVALID)") >= len(figures.SIDE_BY_SIDE)
    assert "INVALID for CPU, do not use its numbers" in page
    for table in (side_by_side.headline(TRIPLE), side_by_side.levels(TRIPLE)):
        assert {cell.value for cell in column(table, "verdict")} == {VALID, INVALID}
    assert column(side_by_side.capacities(TRIPLE), "claimed")[2].text == "no: the run is INVALID"
    answer = side_by_side.answer(TRIPLE)
    assert "bad" not in answer[0] and "INVALID, so nothing is claimed about it: bad." in answer
    assert not [said for said in answer if said.startswith("bad against")]


def test_where_every_run_is_invalid_nothing_is_claimed_at_all():
    found = compare([replace(FAST, verdict=verdict(INVALID)), BAD], 2e6)
    assert side_by_side.answer(found) == [
        "Every run is INVALID: nothing can be claimed about any of them."
    ]


def test_the_answer_says_how_much_slower_and_how_sure():
    said = side_by_side.answer(PAIR)
    assert said[0].startswith("TTFT p50 at 2.00M input TPM: fast 1.")
    assert said[1].startswith("slow against fast: TTFT p50 1.50 (1.50 to 1.50) times, TPS p50 no ")


def test_a_capacity_that_no_level_missed_is_open_and_one_that_all_missed_lies_below():
    easy = compare([FAST, SLOW], 2e6, [Slo.parse("ttft_p50<60s")])
    assert column(side_by_side.capacities(easy), "capacity_tpm")[0].text.endswith("M or more")
    hard = compare([FAST, SLOW], 2e6, [Slo.parse("ttft_p50<100ms")])
    cells = column(side_by_side.capacities(hard), "capacity_tpm_per_gpu")
    assert [cell.text for cell in cells] == ["below 250k", "below 125k"]


def test_own_gpus_are_priced_by_target_at_the_capacity_of_each():
    table = costs.own_gpus(PAIR, RATES)
    fast, slow = table.rows
    for row, usd, gpus, capacity in zip(
        (fast, slow), (4.5, 9.0), (4, 8), PAIR.capacities, strict=True
    ):
        values = dict(zip([column.key for column in table.columns], row, strict=True))
        assert values["gpu_hour_usd"].value == usd
        assert values["input_million_usd"].value == pytest.approx(
            usd * gpus / 60 / capacity.tpm.value * 1e6
        )
    no_gpus = compare([FAST, run("cloud", gpus=None)], 2e6, SLOS)
    assert [row[0].value for row in costs.own_gpus(no_gpus, RATES).rows] == ["fast (engine-fast)"]
    assert "Without a price: cloud" in costs.sentences(no_gpus, RATES)[-1]


def test_list_prices_bill_each_runs_own_hits():
    request = PAIR.request(0)
    row = costs.lists(PAIR, RATES).rows[0]
    usd = (request.input_tokens * PRICE.input_usd + request.output_tokens * PRICE.output_usd) / 1e6
    assert row[3].value == pytest.approx(usd)
    assert row[0].value == "claude-opus-4-6"


def test_one_huge_interval_does_not_press_the_lines_flat():
    wide = [
        replace(rung, points=(replace(rung.points[0], ttft_p50_s=Interval(1.0, 0.01, 5e4)),
                              rung.points[1]))
        for rung in PAIR.rungs
    ]  # fmt: skip
    found = replace(PAIR, rungs=tuple(wide))
    with look():
        axes = Figure().add_subplot()
        figures.ttft_p50(axes, found)
    low, high = axes.get_ylim()
    largest = max(at.ttft_p50_s.value for rung in wide for at in rung.points)
    assert high <= 4 * largest and low >= 0.1
    arrows = [line.get_marker() for line in axes.lines if line.get_marker() in ("^", "v")]
    assert {"^", "v"} <= set(arrows)


def test_the_front_holds_what_no_usable_level_beats():
    assert {run for run, _ in figures.front(TRIPLE)} == {0}  # slow has twice the GPUs
    swapped = compare([BAD, FAST], 2e6)
    assert {run for run, _ in figures.front(swapped)} == {1}


def test_runs_go_by_the_names_that_people_gave_them(tmp_path):
    path = str(stored(tmp_path / "x", FAST.ledger))
    (first, second), _ = open_runs([f"mine={path}", path])
    assert (first.name, second.name) == ("mine", "engine-fast")
    folders = [tmp_path / "turns" / name for name in "ab"]
    for folder in folders:
        stored(folder / "round-1", FAST.ledger)
    assert [run.name for run in open_runs(list(map(str, folders)))[0]] == ["a", "b"]


def test_the_command_writes_every_form(tmp_path, capsys):
    paths = [str(stored(tmp_path / of.name, of.ledger)) for of in (FAST, SLOW)]
    out = tmp_path / "out"
    code = main(
        ["compare", f"a={paths[0]}", f"b={paths[1]}", "--at", "2M", "--slo", "ttft_p50<2s",
         "--gpu-hour", "4.5", "--html", f"{out}.html", "--markdown", f"{out}.md",
         "--export", str(out)]
    )  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0
    assert "Capacity under TTFT p50 < 2 s" in printed and f"page: {out}.html" in printed
    assert Page(Path(f"{out}.html").read_text()).unclosed == []
    assert "| a (engine-fast) | 4 |" in Path(f"{out}.md").read_text()
    with (out / "levels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["level"]) for row in rows] == [load for load in LOADS for _ in range(2)]
    assert len(orjson.loads((out / "capacities.json").read_bytes())) == 2
    for drawing in figures.SIDE_BY_SIDE:
        assert (out / f"{drawing.name}.png").stat().st_size > 5_000


def test_a_hostile_name_is_only_text():
    found = compare([run(HOSTILE), SLOW], 2e6)
    page = compare_page(found, RATES)
    assert "<script" not in page and Page(page).unclosed == []
    assert "<script" not in compare_markdown(found, RATES)


def test_developers_instead_of_tpm():
    """Closed mode: the load is a number of developers."""

    def closed(of):
        mark = replace(of.ledger.header.fingerprint, mode="developers")
        levels = [
            replace(level, target_tpm=None, developers=10 * (n + 1))
            for n, level in enumerate(of.ledger.levels)
        ]
        head = replace(of.ledger.header, fingerprint=mark)
        return replace(of, ledger=replace(of.ledger, header=head, levels=levels))

    found = compare([closed(FAST), closed(SLOW)])
    page = compare_page(found, RATES)
    assert "30 developers" in page and "20 devs" in page and Page(page).unclosed == []

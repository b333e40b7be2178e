"""The page as a person sees it, in a real Chromium, at a desk and on a phone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.report.figures.test_side_by_side import RATES, TRIPLE
from tests.support.records import header
from tests.support.runs import ladder_run
from tokenswarm.measure.slo import Slo
from tokenswarm.report.analysis.result import result
from tokenswarm.report.files.compare_page import write_compare_page
from tokenswarm.report.files.page import write_page
from workload.fidelity import workload
from workload.profiles import SEED

ROOT = Path(__file__).parents[3]
CI = os.environ.get("CI") == "true"  # there it fails where Chromium is missing
pytestmark = pytest.mark.skipif(
    shutil.which("chromium") is None and not CI, reason="no chromium: apt-get install chromium"
)
PATIENCE_S = 120  # guess: takes 5 s on two idle cores
SMALLEST_LABEL_PX = {"phone": 8.5, "desktop": 11.0}  # guess: what is read without a glass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with a name that does not break, and what its reader saw."""
    path = tmp_path_factory.mktemp("reader")
    name = "a-model-with-a-name-that-is-longer-than-a-phone-is-wide-" * 3
    target = replace(header().target, engine=name, model=name, url=f"http://127.0.0.1/{name}")
    ladder = ladder_run(targets_tpm=(0.5e6, 1e6, 1.5e6, 2e6, 2.5e6, 3.5e6))
    ladder = replace(ladder, header=header(target=target, run=name), workload=workload(SEED))
    found = result(ladder, [Slo.parse("ttft_p50<5s"), Slo.parse("failures<1%")])
    pages = path / "report.html", path / "compare.html"
    write_page(pages[0], found)
    write_compare_page(pages[1], TRIPLE, RATES)
    reader = subprocess.run(
        [sys.executable, "-m", "tests.support.page_reader", *map(str, pages), str(path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert reader.returncode == 0, reader.stderr
    return path


@pytest.fixture(scope="module")
def seen(folder: Path) -> dict[str, Any]:
    stored: dict[str, Any] = json.loads((folder / "seen.json").read_text())
    return stored


@pytest.mark.parametrize("place", ["desktop", "phone", "several desktop", "several phone"])
def test_nothing_is_wider_than_the_window(seen: dict[str, Any], place: str) -> None:
    assert seen[place]["content_width"] <= seen[place]["window_width"]
    assert seen[place]["cut_off"] == []


@pytest.mark.parametrize("place", ["desktop", "several desktop"])
def test_at_a_desk_no_table_is_cut_off(seen: dict[str, Any], place: str) -> None:
    assert seen[place]["scrolled"] == []


def test_on_a_phone_checks_and_tasks_need_no_pushing(seen: dict[str, Any]) -> None:
    """Others show that they go on: the levels have thirteen columns."""
    scrolled = seen["phone"]["scrolled"]
    assert "Levels: traffic and TTFT" in scrolled
    assert not {"Checks of the run itself", "Sessions as tasks"} & set(scrolled)


@pytest.mark.parametrize("place", ["desktop", "phone", "several desktop", "several phone"])
def test_every_label_can_be_read(seen: dict[str, Any], place: str) -> None:
    assert seen[place]["smallest_label_px"] >= SMALLEST_LABEL_PX[place.split()[-1]]
    assert seen[place]["clashes"] == []


@pytest.mark.parametrize("place", ["desktop", "phone", "dark", "several desktop", "several phone"])
def test_the_page_asks_nobody_for_anything_and_has_nothing_to_complain_of(
    seen: dict[str, Any], place: str
) -> None:
    assert [url for url in seen[place]["requests"] if not url.startswith("file:")] == []
    assert len(seen[place]["requests"]) == 1
    assert seen[place]["complaints"] == []


@pytest.mark.parametrize("place", ["desktop", "phone"])
def test_every_picture_is_shown_once_and_told_in_words(seen: dict[str, Any], place: str) -> None:
    assert seen[place]["pictures"] == 10
    assert seen[place]["without_words"] == 0


def test_it_is_dark_in_the_dark(seen: dict[str, Any]) -> None:
    assert _brightness(seen["desktop"]["back"]) > 200 > 100 > _brightness(seen["desktop"]["ink"])
    assert _brightness(seen["dark"]["back"]) < 60 < 180 < _brightness(seen["dark"]["ink"])


def test_it_can_be_printed(folder: Path, seen: dict[str, Any]) -> None:
    """Tables too: paper cannot be scrolled."""
    assert seen["paper"]["content_width"] <= seen["paper"]["window_width"]
    assert (seen["desktop"]["watermarks"], seen["paper"]["watermarks"]) == (1, 0)
    printed = (folder / "printed.pdf").read_bytes()
    assert printed.startswith(b"%PDF") and len(printed) > 50_000


def _brightness(rgb: str) -> float:
    """Mean of "rgb(1, 2, 3)"."""
    values = [float(part) for part in rgb[rgb.index("(") + 1 : -1].split(",")]
    return sum(values[:3]) / 3

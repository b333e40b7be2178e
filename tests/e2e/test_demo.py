"""The demo prints what README and docs/reading.md show, whatever the machine does meanwhile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.demo_pages import READING, README, TABLE, cut_short, run_demo, shown
from tokenswarm.measure.ledger import read_header


def test_the_pages_show_what_the_demo_prints(tmp_path: Path) -> None:
    printed = shown(run_demo(tmp_path))
    (run,) = (tmp_path / "runs").iterdir()
    assert (run / "report.html").is_file()
    corpus = read_header(run).fingerprint.corpus_hash
    for page, expected in ((READING, printed), (README, cut_short(printed))):
        found = TABLE.search(page.read_text())
        assert found is not None
        of_page = re.search(r"<!-- corpus (\w+) -->", found[0])
        assert of_page is not None
        if of_page[1] != corpus:
            pytest.skip("prompts are made of this Python's standard library, and it is another one")
        assert f"```text\n{expected}```" in found[0], f"python scripts/demo_pages.py, then {page}"

"""`make compare`'s script: how long it takes, how it judges, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LONGEST_S = 180.0  # what it says itself, the sweeps in virtual time included
# Beside its own engine module, as `python scripts/compare.py` finds it.
SCRIPT = """
import json
import compare
wall_s = compare.FULL.http_s + 2 * compare.FULL.offline_s
pairs = [(1.0, 1.0), (1.0, 1.0 + 1e-9), (1.0, 1.00001), (None, None), (None, 1.0), (1.0, None)]
print(json.dumps([wall_s, compare.NAMES, [compare._same(pair) for pair in pairs]]))
"""


def test_it_fits_into_three_minutes_and_says_what_is_not_equal() -> None:
    shown = subprocess.run(
        (sys.executable, "-c", SCRIPT),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    wall_s, names, equal = json.loads(shown.stdout)
    assert wall_s <= LONGEST_S
    assert names == ["trtllm-like", "together-like", "sglang-like"]
    assert equal == [True, True, False, True, False, False]


def test_an_unknown_option_is_refused() -> None:
    shown = subprocess.run(
        (sys.executable, "scripts/compare.py", "--fast"),
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 2
    assert "--fast" in shown.stderr and "Traceback" not in shown.stderr

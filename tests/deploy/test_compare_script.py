"""`make compare`'s script: how long it takes, how it judges, what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Beside its own engine module, as `python scripts/compare.py` finds it.
SCRIPT = """
import json
from types import SimpleNamespace as Http
import compare
from tokenswarm.engine.offline.sweep import Case, sweep
from tokenswarm.report.analysis.interval import Interval
load = compare.Load(levels_tpm=(1e6,), hold_s=60.0, drain_s=600.0)
case = Case(label="x", preset=compare.PRESETS["trtllm-like"], source=compare.SEED, load=load)
(point,) = sweep([case], range(1, 4), processes=1)
values = sorted(f.ttft_p50_s for f in point.figures)
answers = [
    compare._row(point, Http(ttft_p50_s=Interval(ttft_s), decode_tps_p50=Interval(None)))
    for ttft_s in (values[0], values[-1], 1.01 * values[-1], None)
]
print(json.dumps([compare.FULL.http_s + 2 * compare.FULL.offline_s, compare.NAMES, answers]))
"""


def test_it_fits_into_twelve_minutes_and_says_what_lies_outside() -> None:
    shown = subprocess.run(
        (sys.executable, "-c", SCRIPT),
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert shown.returncode == 0, shown.stderr
    wall_s, names, answers = json.loads(shown.stdout)
    assert wall_s <= 12 * 60
    assert names == ["trtllm-like", "together-like", "sglang-like"]
    assert [row[3] for row in answers] == ["within", "within", "OUTSIDE", "unknown"]
    assert {row[-1] for row in answers} == {"unknown"}  # a speed that is not known
    assert {row[0] for row in answers} == {"sim:trtllm-like"}


def test_an_unknown_option_is_refused() -> None:
    shown = subprocess.run(
        (sys.executable, "scripts/compare.py", "--fast"),
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert shown.returncode == 2
    assert "--fast" in shown.stderr and "Traceback" not in shown.stderr

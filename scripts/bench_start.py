"""How long a user waits: from starting `locust` to the first measured turn's first byte.

Against the embedded engine in real time, with an empty cache folder (cold: the corpus is rendered
and counted) and then with a filled one (warm).

    python scripts/bench_start.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tabulate import tabulate

from tokenswarm.measure.ledger import read_run

ROOT = Path(__file__).resolve().parent.parent


def _seconds_to_first_request(address: str, cache: Path, runs: Path) -> float:
    """From the start of the process to `sent_at` of the first turn, in wall seconds."""
    started_at = time.time()
    subprocess.run(
        [
            *(sys.executable, "-m", "locust", "-f", "locustfiles/coding_agents.py"),
            *("--host", address, "--headless", "-u", "20", "-r", "100", "-t", "3s"),
            # Open mode at a rate whose first ticket is due at once.
            *("--tpm", "50M", "--ramp", "0.1s"),
            *("--stop-timeout", "0", "--runs", str(runs), "--skip-log-setup", "--only-summary"),
        ],
        cwd=ROOT,
        env={**os.environ, "TOKENSWARM_CACHE": str(cache)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (run,) = runs.iterdir()
    ledger = read_run(run)
    first_s = min(r.sent_at_s for r in ledger.records if r.sent_at_s is not None)
    return ledger.header.started_at + first_s - started_at


def main() -> list[tuple[str, float, str]]:
    """Rows of (what, value, unit)."""
    with (
        subprocess.Popen(
            [sys.executable, "-m", "tokenswarm", "engine", "--port", "0"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        ) as engine,
        tempfile.TemporaryDirectory() as scratch,
    ):
        assert engine.stdout is not None
        ready = engine.stdout.readline().split()
        address = next(word for word in ready if word.startswith("http://"))
        cache = Path(scratch, "cache")
        try:
            rows = [
                (
                    f"start to first request, {state} cache",
                    _seconds_to_first_request(address, cache, Path(scratch, state)),
                    "s",
                )
                for state in ("cold", "warm")
            ]
        finally:
            engine.terminate()
    print(tabulate(rows, ("what", "value", "unit"), floatfmt=".3g"))
    return rows


if __name__ == "__main__":
    main()

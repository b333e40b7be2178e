"""`make demo`: the embedded engine, a ladder of six TPM levels across saturation, table and page.

Everything is simulated and says so. Under four minutes, at twenty engine seconds a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

from embedded_engine import ROOT, engine

SPEED = 20
LEVELS = "0.5M,1M,1.5M,2M,2.5M,3M"
HOLD = "10m"  # engine time: 30 s each


def main() -> int:
    name = time.strftime("demo-%Y%m%d-%H%M%S")
    folder = ROOT / "runs" / name
    with engine(SPEED) as address:
        command = [
            *(sys.executable, "-m", "locust", "-f", "locustfiles/tpm_ladder.py"),
            *("--host", address, "--headless", "--only-summary", "--skip-log-setup"),
            *("--levels", LEVELS, "--hold", HOLD, "--run-name", name),
        ]
        print("running:", " ".join(command[2:]), flush=True)
        # --skip-log-setup: Locust's own tables would follow ours, in milliseconds of engine time
        # without saying so.
        code = subprocess.run(command, cwd=ROOT, env=os.environ).returncode
    if not (folder / "summary.json").exists():
        return code or 1
    print(f"\nThe answer in one page: {folder / 'report.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())

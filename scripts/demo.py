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
INVALID = 4  # locust's exit code for a run that cannot be trusted


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
    page = folder / "report.html"
    if not page.exists():
        return code or 1
    print(f"\nThe answer in one page: {page}")
    if code == INVALID:
        print("Its verdict is INVALID, for the reasons above: a demo shows that and is no error.")
        print("Mostly it is a machine too busy for this clock; try again when it is quiet.")
        return 0
    return code


if __name__ == "__main__":
    sys.exit(main())

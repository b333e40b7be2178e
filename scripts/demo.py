"""`make demo`: the embedded engine, a ladder of six TPM levels across saturation, table and page.

Everything is simulated and says so. Under four minutes, at twenty engine seconds a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEED = 20
LEVELS = "0.5M,1M,1.5M,2M,2.5M,3M"
HOLD = "10m"  # engine time: 30 s each


@contextmanager
def engine() -> Iterator[str]:
    """The address of an engine of its own process, on a free port."""
    command = [sys.executable, "-m", "engine", "--port", "0", "--speed", str(SPEED)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        if "http://" not in ready:
            raise SystemExit(f"the engine did not start: {ready.strip() or 'see above'}")
        print(ready.strip())
        try:
            yield next(word for word in ready.split() if word.startswith("http://"))
        finally:
            process.terminate()


def main() -> int:
    name = time.strftime("demo-%Y%m%d-%H%M%S")
    folder = ROOT / "runs" / name
    with engine() as address:
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

"""tokenswarm demo: the embedded engine, a ladder of six TPM levels, table, verdict and page.

Everything is simulated and says so. Engine and generator keep one virtual clock over real HTTP, so
the numbers are the same on every machine; a fast one is through in half a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tokenswarm.commands.embedded_engine import engine
from tokenswarm.commands.run import command_of

LEVELS = "0.5M,1M,1.5M,2M,2.5M,3M"
HOLD = "10m"  # engine time


def main(arguments: Sequence[str] = ()) -> int:
    argparse.ArgumentParser(prog="tokenswarm demo", description=__doc__).parse_args(arguments)
    name = time.strftime("demo-%Y%m%d-%H%M%S")
    folder = Path("runs", name)
    with engine("--clock", "driven") as address:
        asked = ("--host", address, "--levels", LEVELS, "--hold", HOLD, "--run-name", name)
        print("running: tokenswarm run ladder", *asked, flush=True)
        # --skip-log-setup: Locust's own tables would follow ours, in milliseconds of engine time
        # without saying so.
        code = subprocess.run([sys.executable, "-m", *command_of("ladder", asked)]).returncode
    page = folder / "report.html"
    if not page.exists():
        return code or 1
    print(f"\nThe answer in one page: {page}")
    return code

"""`make test`: every test, several files at a time, since most end-to-end tests wait.

    python scripts/suite.py

Each room of tests/ and each file of tests/e2e is a pytest process of its own. What it printed comes
when it has ended, under its name, its wall time and its CPU time (its children's too). Files that
measure how fast this machine is run by themselves in the end. Exit code 1 where a process failed or
found no test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (sys.executable, "-m", "pytest", "-rs", "--durations=5", "--durations-min=5")
LANES = 3  # processes at a time on two cores: two of three wait, most of the time (measured)
# The longest go first, so that none is left over in the end.
FIRST = ("e2e/test_processes.py", "e2e/test_joining.py", "e2e/test_live.py", "e2e/test_metrics.py")
# Nothing beside them.
ALONE: tuple[str, ...] = ()
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|errors?|xfailed|xpassed|deselected)")


@dataclass(frozen=True, slots=True)
class Ended:
    """One pytest process. Seconds of wall time, and of CPU with those of its children."""

    name: str
    code: int
    printed: str
    wall_s: float
    cpu_s: float

    def __str__(self) -> str:
        failed = f"exit code {self.code}, " if self.code else ""
        return f"{self.name}: {failed}{self.wall_s:.0f} s, {self.cpu_s:.0f} s of CPU"

    @property
    def counts(self) -> Counter[str]:
        last = self.printed.rstrip().rpartition("\n")[2]
        return Counter({what: int(number) for number, what in COUNTED.findall(last)})


@dataclass(frozen=True, slots=True)
class Running:
    name: str
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began_s: float


def main(folder: Path = ROOT / "tests", alone: Sequence[str] = ALONE) -> int:
    began_s = time.monotonic()
    targets = [name for name in _targets(folder) if name not in alone]
    with tempfile.TemporaryDirectory() as cache:
        # One for all: counting a corpus takes seconds.
        env = os.environ | {"TESTS_CORPUS_CACHE": cache}
        ended = []
        for lanes, names in ((LANES, targets), (1, alone)):
            for one in _in_lanes(lanes, names, folder, alone, env):
                print(f"\n== {one}\n{one.printed}", end="", flush=True)
                ended.append(one)
    counts = sum((one.counts for one in ended), Counter[str]())
    failed = [one for one in ended if one.code]
    print("\n".join(["", *(f"FAILED {one}" for one in failed)]))
    summary = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    minutes = (time.monotonic() - began_s) / 60
    cpu_minutes = sum(one.cpu_s for one in ended) / 60
    print(f"{summary} in {minutes:.1f} minutes, {cpu_minutes:.1f} minutes of CPU")
    return 1 if failed or not ended else 0


def _targets(folder: Path) -> list[str]:
    """Rooms, files of tests/e2e and files beside the rooms, the longest first."""
    rooms = {path.relative_to(folder).parts[0] for path in folder.rglob("test_*.py")} - {"e2e"}
    files = {str(path.relative_to(folder)) for path in folder.glob("e2e/test_*.py")}
    return sorted(files | rooms, key=lambda name: (name not in FIRST, name not in files, name))


def _in_lanes(
    lanes: int, names: Iterable[str], folder: Path, alone: Sequence[str], env: dict[str, str]
) -> Iterable[Ended]:
    waiting, running = list(names), dict[int, Running]()
    while waiting or running:
        while waiting and len(running) < lanes:
            one = _start(waiting.pop(0), folder, alone, env)
            running[one.process.pid] = one
        pid, status, usage = os.wait4(-1, 0)
        one = running.pop(pid)
        one.process.returncode = os.waitstatus_to_exitcode(status)
        one.output.seek(0)
        yield Ended(
            one.name,
            one.process.returncode,
            one.output.read().decode(errors="replace"),
            time.monotonic() - one.began_s,
            usage.ru_utime + usage.ru_stime,
        )


def _start(name: str, folder: Path, alone: Sequence[str], env: dict[str, str]) -> Running:
    output = tempfile.TemporaryFile()
    left_out = [f"--ignore={folder / one}" for one in alone if one != name]
    command = (*PYTEST, str(folder / name), *left_out)
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
    return Running(name, process, output, time.monotonic())


if __name__ == "__main__":
    sys.exit(main())

"""`make test`: every test, several files at a time, since most end-to-end tests wait.

    python scripts/suite.py

Each room of tests/ and each file of tests/e2e is a pytest process of its own. What it printed comes
when it has ended, under its name, its wall time and its CPU time (with its children's). Files that
measure how fast something is are run by themselves, in the end. Exit code 1 where a process failed
or found no test.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTEST = (
    *(sys.executable, "-m", "pytest", "-rs", "--durations=5", "--durations-min=5"),
    "--hypothesis-profile=ci",  # a slow machine is no finding
)
LANES = 3  # processes at a time; on two cores, since most of them wait most of the time
# The longest go first, so that none of them is left over in the end.
FIRST = (
    *("report", "engine", "workload", "shell"),
    *("e2e/test_processes.py", "e2e/test_joining.py", "e2e/test_live.py", "e2e/test_metrics.py"),
)
# Nothing beside them.
ALONE: tuple[str, ...] = ()
COUNTED = re.compile(r"(\d+) (passed|failed|skipped|error|xfailed|xpassed)")


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
    output: Path
    began_s: float


def main(folder: Path = ROOT / "tests", alone: Sequence[str] = ALONE) -> int:
    began_s = time.monotonic()
    ended = []
    with tempfile.TemporaryDirectory() as scratch:
        lanes = Lanes(folder, Path(scratch), alone)
        beside = [name for name in _targets(folder) if name not in alone]
        for count, names in ((LANES, beside), (1, alone)):
            for one in lanes.run(count, names):
                print(f"\n== {one}\n{one.printed}", end="", flush=True)
                ended.append(one)
    print(f"\n{_summary(ended)} in {(time.monotonic() - began_s) / 60:.1f} minutes")
    return 1 if not ended or any(one.code for one in ended) else 0


def _summary(ended: Sequence[Ended]) -> str:
    failed = [f"FAILED {one}\n" for one in ended if one.code]
    counts = sum((one.counts for one in ended), Counter[str]())
    counted = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
    cpu_minutes = sum(one.cpu_s for one in ended) / 60
    return f"{''.join(failed)}{counted}, {cpu_minutes:.1f} minutes of CPU"


def _targets(folder: Path) -> list[str]:
    """Rooms, files of tests/e2e, and files beside the rooms; the longest first."""
    rooms = {path.relative_to(folder).parts[0] for path in folder.rglob("test_*.py")} - {"e2e"}
    files = {str(path.relative_to(folder)) for path in folder.glob("e2e/test_*.py")}
    return sorted(files | rooms, key=lambda name: (name not in FIRST, name not in files, name))


class Lanes:
    """Runs pytest on parts of `folder`, so many at a time; `scratch` is for what they leave."""

    def __init__(self, folder: Path, scratch: Path, alone: Sequence[str]) -> None:
        self._folder = folder
        self._scratch = scratch
        self._alone = alone
        # Counted corpora and simulated workloads: once for all. So is what Python compiles: some
        # two hundred processes import this package.
        self._env = os.environ | {"TOKENSWARM_CACHE": str(scratch / "cache")}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)
        self._running: dict[int, Running] = {}

    def run(self, lanes: int, names: Sequence[str]) -> Iterator[Ended]:
        """As they end. Those under way are told to end when this is given up."""
        waiting = list(names)
        try:
            while waiting or self._running:
                while waiting and len(self._running) < lanes:
                    self._start(waiting.pop(0))
                yield self._next()
        finally:
            for one in self._running.values():
                one.process.terminate()

    def _start(self, name: str) -> None:
        left_out = [f"--ignore={self._folder / one}" for one in self._alone if one != name]
        command = (*PYTEST, str(self._folder / name), *left_out)
        output = self._scratch / f"{name.replace('/', '-')}.out"
        with output.open("wb") as file:
            process = subprocess.Popen(command, cwd=ROOT, env=self._env, stdout=file, stderr=file)
        self._running[process.pid] = Running(name, process, output, time.monotonic())

    def _next(self) -> Ended:
        pid, status, usage = os.wait4(-1, 0)
        one = self._running.pop(pid)
        one.process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(
            one.name,
            one.process.returncode,
            one.output.read_text(errors="replace"),
            time.monotonic() - one.began_s,
            usage.ru_utime + usage.ru_stime,
        )


if __name__ == "__main__":
    sys.exit(main())

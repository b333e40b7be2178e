"""The demo's table in README and docs/reading.md, and its picture, from a run of `tokenswarm demo`.

    python scripts/demo_pages.py

In driven time the demo prints the same on every machine, as long as its prompts are made of the
same sources: the corpus is Python's standard library, so a page names the corpus that it has.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tokenswarm.measure.ledger import read_header

ROOT = Path(__file__).resolve().parent.parent
README, READING = ROOT / "README.md", ROOT / "docs" / "reading.md"
PICTURE = ROOT / "docs" / "images" / "demo.png"
TABLE = re.compile(r"(?<=<!-- demo-table -->\n).*?(?=<!-- /demo-table -->)", re.DOTALL)
CUT = "[...]"


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        printed = run_demo(Path(folder))
        (run,) = Path(folder, "runs").iterdir()
        corpus = read_header(run).fingerprint.corpus_hash
        _put(READING, shown(printed), corpus)
        _put(README, cut_short(shown(printed)), corpus)
        report = (sys.executable, "-m", "tokenswarm", "report", str(run), "--plot", str(PICTURE))
        return subprocess.run(report, cwd=ROOT, stdout=subprocess.DEVNULL).returncode


def run_demo(folder: Path) -> str:
    """What `tokenswarm demo` prints there. Raises CalledProcessError."""
    command = (sys.executable, "-m", "tokenswarm", "demo")
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def shown(printed: str) -> str:
    """Of what it prints, from the first table to the verdict; its name without the time."""
    result = printed[printed.index("SIMULATED by") : printed.index("\npage: ")].rstrip()
    return re.sub(r"(?<=run demo-)\d+-\d+", "DATE-TIME", result) + "\n"


def cut_short(result: str) -> str:
    """Without the counts, the tasks and the table of the workload."""
    head, _, rest = result.partition("\nWhole run, warm-up")
    findings, _, tail = rest[rest.index("\nKnee") :].partition("\nsessions as tasks")
    return f"{head}{findings}\n{CUT}\n{tail[tail.index(chr(10) + 'Verdict:') :]}"


def _put(page: Path, result: str, corpus: str) -> None:
    block = f"<!-- corpus {corpus} -->\n```text\n{result}```\n"
    page.write_text(TABLE.sub(lambda _: block, page.read_text()))


if __name__ == "__main__":
    sys.exit(main())

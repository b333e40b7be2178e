"""Pages that comments, docstrings and pages cite are in the repository, sections included."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# The same names without their extension would be prose; svg and binary files cite nothing.
SUFFIXES = {".md", ".py", ".toml", ".yml", ".yaml", ".sh", ".js", ".css", ".html", ".json", ".txt"}
NAMES = {"Makefile", "Dockerfile", ".env.example", ".gitignore", ".dockerignore"}
# A page by name, then perhaps "3", "3.1" or "section 3.1" as in `docs/measuring.md 1.3`.
CITATION = re.compile(
    r"(?<![\w/.:-])((?:[\w.-]+/)*[A-Za-z][\w.-]*\.md)\b`?(?:\]\([^)]*\))?"
    r"(?: (?:section )?(\d+(?:\.\d+)*)(?=\b)(?![\w%]))?"
)
HEADING = re.compile(r"^#{2,4} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
# Files that a user's own command writes or reads, not pages of ours.
EXAMPLES = {"demo.md", "ladder.md", "binary.md"}


def sources() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:  # an unpacked archive
        paths = [path for path in ROOT.rglob("*") if not {".venv", "build"} & set(path.parts)]
    found = [path for path in paths if path.suffix in SUFFIXES or path.name in NAMES]
    return sorted(path for path in found if path.is_file() and path != Path(__file__))


def citations(path: Path) -> list[tuple[str, str]]:
    """(page, section or "") of each citation; a comment's line break counts as a space."""
    text = re.sub(r"\s*\n\s*(?:#|//|\*)?\s*", " ", path.read_text(errors="replace"))
    return [(match[1], match[2] or "") for match in CITATION.finditer(text)]


def page_of(name: str, source: Path) -> Path | None:
    """Named from the root, from the folder of the page that names it, or, in code, as a file of
    docs/ (`ROOT / "docs" / "live.md"`)."""
    places = [ROOT / name, source.parent / name if source.suffix == ".md" else ROOT / "docs" / name]
    return next((place.resolve() for place in places if place.is_file()), None)


def wrong(path: Path) -> list[str]:
    found = []
    for name, section in citations(path):
        if name in EXAMPLES or Path(name).name.startswith("test_"):
            continue
        page = page_of(name, path)
        if page is None:
            found.append(f"{name}: no such page")
        elif section and section not in HEADING.findall(page.read_text()):
            found.append(f"{name} {section}: no such section")
    return found


def test_every_cited_page_and_section_exists():
    by_file = {str(path.relative_to(ROOT)): wrong(path) for path in sources()}
    assert {name: lines for name, lines in by_file.items() if lines} == {}


def test_the_code_cites_sections_of_the_pages():
    cited = {c for path in sources() if path.suffix == ".py" for c in citations(path) if c[1]}
    assert {"docs/design.md", "docs/measuring.md", "docs/engine.md", "docs/workload.md"} <= {
        name for name, _ in cited
    }
    assert len(cited) >= 12


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# docs/measuring.md 1.3", ("docs/measuring.md", "1.3")),
        ("(docs/engine.md 7, rule 5)", ("docs/engine.md", "7")),
        ("see [design.md](design.md) 3.2", ("design.md", "3.2")),
        ("docs/workload.md\n# 3.1: start", ("docs/workload.md", "3.1")),
        ("in docs/report.md. 12 of them", ("docs/report.md", "")),
    ],
)
def test_a_citation_is_read(tmp_path, text, expected):
    (tmp_path / "source.py").write_text(text)
    assert citations(tmp_path / "source.py")[0] == expected


def test_a_page_that_is_missing_and_a_section_that_is_missing_are_found(tmp_path):
    source = tmp_path / "source.py"
    source.write_text("# " + "NOTES" + ".md 3 and docs/design.md 99.1")
    assert wrong(source) == [
        "NOTES.md: no such page",
        "docs/design.md 99.1: no such section",
    ]

"""The documentation against the code: commands run or parse, names exist, defaults are real."""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.support.runs import ladder_run
from tests.support.stored_runs import stored
from tokenswarm.commands.engine import OFFLINE
from tokenswarm.engine.physics.presets import PRESETS
from tokenswarm.measure.record import FAILURE_KINDS, TurnRecord
from tokenswarm.measure.slo import TIMINGS, TOTALS, Slo
from tokenswarm.measure.tally import Summary
from tokenswarm.report.text.levels import COLUMNS
from workload.fidelity import QUANTITIES
from workload.overrides import derived
from workload.profiles import PROFILES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "docs").rglob("*.md")}
METRICS = PAGES[ROOT / "docs" / "metrics.md"]
TOOLS = ("locust", "python", "make")
# Real parsers in a bare process: importing Locust patches the standard library.
READ_COMMANDS = """
import json, sys
from locust.argument_parser import get_parser
from tokenswarm.shell import wiring
from tokenswarm.shell.options import OptionError, read_options
for command in json.load(sys.stdin):
    try:
        parsed = get_parser().parse_args(command[1:])
    except SystemExit:
        sys.exit(f"refused: {command}")
    if not parsed.worker:
        read_options(parsed, parsed.host)
"""
LIST_OPTIONS = """
import json
from locust.argument_parser import get_parser
from tokenswarm.shell import wiring
print(json.dumps([
    (action.option_strings[0], action.env_var, action.default)
    for action in get_parser()._actions
    if (getattr(action, "env_var", None) or "").startswith("TOKENSWARM_")
]))
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """The words of each command of the README's bash blocks, without `export` lines."""
    lines = "".join(blocks("bash")).replace("\\\n", " ").splitlines()
    found = [shlex.split(line, comments=True) for line in lines]
    return [words for words in found if words and words[0] != "export"]


def commands_of(*head: str) -> list[list[str]]:
    return [words for words in commands() if tuple(words[: len(head)]) == head]


def run(
    *words: str, cwd: Path = ROOT, stdin: str = "", timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )


def test_every_command_is_of_a_tool_that_is_checked_here():
    assert len(commands()) >= 15
    assert {words[0] for words in commands()} == set(TOOLS)
    assert {tuple(w[:3]) for w in commands() if w[0] == "python"} == {
        ("python", "-m", "workload"),
        ("python", "-m", "tokenswarm", "report"),
        ("python", "-m", "tokenswarm", "engine"),
    }


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {words[1] for words in commands_of("make")}
    named |= set(re.findall(r"`make ([a-z]+)`", README))
    assert named and named <= targets


def test_locust_commands_are_accepted_by_the_real_parser_and_options(tmp_path):
    (tmp_path / "locustfiles").symlink_to(ROOT / "locustfiles")
    found = commands_of("locust")
    read = run("-c", READ_COMMANDS, cwd=tmp_path, stdin=json.dumps(found))
    assert len(found) >= 9
    assert read.returncode == 0, read.stderr
    for words in found:
        assert (ROOT / words[words.index("-f") + 1]).is_file()


@pytest.mark.parametrize("module", ["workload", "report", "engine"])
def test_options_of_python_commands_exist(module):
    for words in commands_of("python", "-m", module):
        subcommand = [word for word in words[3:4] if word in (*OFFLINE, "compare", "cost")]
        shown = run("-m", module, *subcommand, "--help")
        assert shown.returncode == 0, shown.stderr
        known = set(re.findall(r"--[a-z][a-z-]+", shown.stdout))
        assert {word for word in words if word[:2] == "--"} <= known


def test_the_workload_command_runs_as_shown():
    assert "tokenswarm profile --profile seed --sessions 200" in README
    shown = run("-m", "workload", "--profile", "seed", "--sessions", "200")
    assert shown.returncode == 0, shown.stderr
    assert "ideal hit" in shown.stdout


def test_the_report_commands_run_as_shown(tmp_path):
    for name in ("demo", "trtllm", "sglang"):
        stored(tmp_path / "runs" / name, ladder_run())
    for words in commands_of("python", "-m", "tokenswarm", "report"):
        shown = run(*words[1:], cwd=tmp_path)
        judged = "--slo" in words and words[3] != "cost"
        assert shown.returncode in ((0, 1, 3) if judged else (0,)), shown.stderr
        assert "SIMULATED" in shown.stdout
        for at, word in enumerate(words):
            if word == "--slo" and judged:
                assert Slo.parse(words[at + 1]).text in shown.stdout
            if word in ("--plot", "--html", "--markdown"):
                assert (tmp_path / words[at + 1]).is_file()
            if word == "--export":
                assert list((tmp_path / words[at + 1]).glob("*.csv"))


def test_the_profile_file_is_accepted():
    (text,) = blocks("toml")
    profile = derived(tomllib.loads(text), PROFILES, name="example")
    assert (profile.name, profile.max_prompt_tokens) == ("our-team", 128_000)


def test_every_option_stands_in_the_readme_with_its_variable_and_default():
    listed = run("-c", LIST_OPTIONS)
    assert listed.returncode == 0, listed.stderr
    options = json.loads(listed.stdout)
    assert len(options) >= 20
    rows = {row[2]: row[0] for row in re.findall(r"(^\| `((--[a-z-]+)[^`]*)`.*$)", README, re.M)}
    rows = {option: [cell.strip() for cell in row.split("|")] for option, row in rows.items()}
    for option, variable, default in (*options, ("--profile", "TOKENSWARM_PROFILE", "seed")):
        assert option in rows, f"{option} is not in the table of options"
        shown = "off" if default is False else "" if default in ("", []) else f"`{default}`"
        assert rows[option][2:4] == [f"`{variable}`", shown], option
    assert rows.keys() == {option for option, _, _ in options} | {"--profile"}


def test_environment_variables_that_are_named_exist():
    code = "".join(
        path.read_text()
        for folder in ("locustfiles", "workload", "engine")
        for path in (ROOT / folder).glob("*.py")
    )
    for variable in re.findall(r"TOKENSWARM_[A-Z_]+", README):
        option = f'"--{variable.removeprefix("TOKENSWARM_").lower().replace("_", "-")}"'
        assert variable in code or option in code, variable


@pytest.mark.parametrize("page", [ROOT / "README.md", *PAGES], ids=lambda p: p.name)
def test_every_path_that_a_page_names_exists(page):
    text = page.read_text()
    links = re.findall(r"\]\((?!http)([^)#]+)\)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    folders = (
        "workload|client|measure|exporters|locustfiles|report|engine|deploy|tests|scripts|docs"
    )
    named = re.findall(rf"`((?:{folders})/[\w./-]*)`", text)
    missing += [path for path in named if not (ROOT / path).exists()]
    assert not missing


def test_every_figure_of_a_turn_and_of_a_window_is_defined():
    turn = [f.name for f in dataclasses.fields(TurnRecord)]
    turn += [name for name, value in vars(TurnRecord).items() if isinstance(value, property)]
    window = [f.name for f in dataclasses.fields(Summary)]
    window += [name for name, value in vars(Summary).items() if isinstance(value, property)]
    of_turn, of_window = METRICS.split("## A window of time")
    assert [name for name in turn if f"`{name}`" not in of_turn] == []
    assert [name for name in window if f"`{name}`" not in of_window] == []


def test_every_objective_and_failure_kind_is_explained():
    for name in (*TIMINGS, *TOTALS):
        assert re.search(rf"`{name}\W", METRICS), name
    for kind in FAILURE_KINDS:
        assert f"`{kind}`" in METRICS and f"`{kind}`" in README, kind


def test_every_column_of_the_table_is_explained():
    table = README[README.index("## Reading the result") :]
    for column in COLUMNS:
        words = column.replace("{asked}", "devs").split()
        assert all(word in table for word in words), column


def test_profiles_presets_and_fidelity_rows_are_described():
    workload, engine = PAGES[ROOT / "docs/workload.md"], PAGES[ROOT / "docs/engine.md"]
    assert all(f"`{name}`" in README and f"`{name}`" in workload for name in PROFILES)
    assert all(f"`{name}`" in README and f"`{name}`" in engine for name in PRESETS)
    assert [row for row, *_ in QUANTITIES if f"`{row}`" not in workload] == []


def test_series_of_the_engine_are_listed():
    """Names as in the code; the exposition adds `_total` to counters."""
    tree = ast.parse((ROOT / "engine" / "metrics.py").read_text())
    texts = [n.value for n in ast.walk(tree) if isinstance(n, ast.Constant)]
    names = {t for t in texts if isinstance(t, str) and re.fullmatch(r"(vllm|sim):[a-z_]+", t)}
    assert len(names) >= 14
    assert [name for name in sorted(names) if f"`{name}" not in METRICS] == []


def test_the_demo_is_shown_and_called_simulated():
    shown = re.search(r"<!-- demo-table -->(.*?)<!-- /demo-table -->", README, re.DOTALL)
    assert shown and "SIMULATED by sim:" in shown[1] and "target" in shown[1]
    (alt,) = re.findall(r"!\[([^\]]*)\]\(docs/images/demo.png\)", README)
    assert "simulated" in alt.lower()

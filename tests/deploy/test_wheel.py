"""The wheel: everything that runs is in it, under four names, and no file of the folder matters."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = (
    "exporters/grafana/json/tokenswarm-live.json",
    "exporters/prometheus/provisioning/prometheus.yml",
    "exporters/prometheus/provisioning/rules.yml",
    "exporters/prometheus/provisioning/engines.yml",
    "exporters/web/page.html",
    "exporters/web/uPlot.iife.min.js",
    "locustfiles/tpm_ladder.py",
    "tokenswarm/report/analysis/prices.toml",
    "tokenswarm/report/files/templates/page.html",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    listed = subprocess.run(
        ("git", "ls-files", "-co", "--exclude-standard"), cwd=ROOT, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():  # a clean tree: no left-over build folder
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    build = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
    subprocess.run((*build, "--wheel-dir", folder, source), check=True)
    (found,) = folder.glob("tokenswarm-*.whl")
    return found


def test_it_holds_four_names_every_module_and_every_page(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert top == {"tokenswarm", "workload", "exporters", "locustfiles"}
    modules = {str(path.relative_to(ROOT)) for room in top for path in (ROOT / room).rglob("*.py")}
    assert modules <= set(names)
    assert set(FILES) <= set(names)
    metadata = next(name for name in names if name.endswith("dist-info/METADATA"))
    assert "License-Expression: Apache-2.0" in zipfile.ZipFile(wheel).read(metadata).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.parametrize("words", [("--help",), ("run", "ladder", "--help"), ("cost", "--help")])
def test_its_commands_run_where_files_have_our_old_names(wheel, tmp_path, words) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    folder = tmp_path / "work"
    folder.mkdir()
    for room in ("client", "measure", "report", "engine"):
        (folder / f"{room}.py").write_text("raise SystemExit('the user's own file was imported')")
    shown = subprocess.run(
        (sys.executable, "-m", "tokenswarm", *words),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
    )
    assert shown.returncode == 0, shown.stderr
    assert "usage: tokenswarm" in shown.stdout


NATIVE_CONFIGURATION = """
import sys
from pathlib import Path
from tokenswarm.commands.live import ENGINE, native_configuration
native_configuration(Path(sys.argv[1]), {ENGINE: "127.0.0.1:1234"})
"""


def test_live_finds_its_prometheus_configuration_where_only_the_wheel_is(wheel, tmp_path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    folder = tmp_path / "work"
    folder.mkdir()
    subprocess.run(
        (sys.executable, "-c", NATIVE_CONFIGURATION, folder),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site")},
        check=True,
    )
    written = {path.name for path in folder.iterdir()}
    assert {"prometheus.yml", "rules.yml", "engines.yml"} <= written
    assert "127.0.0.1:1234" in (folder / "engines.yml").read_text()
    if shutil.which("promtool"):
        checked = subprocess.run(("promtool", "check", "config", "prometheus.yml"), cwd=folder)
        assert checked.returncode == 0

"""The commands of docker-compose.yml, run here exactly as they stand there.

Only names of services become 127.0.0.1. In containers master and worker have a port 9646 each; here
it is the worker's, and the master's page is on 9647.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from measure.ledger import read_run
from tests.e2e.stack import ROOT, RUN_TIMEOUT_S, START_TIMEOUT_S, metrics, until

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# `locust` and `python` are those of the environment that the tests run in, as in the image.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
DEFAULTS = {"ENGINE_PRESET": "trtllm-like", "ENGINE_SPEED": "20", "TARGET": "http://engine:8000"}
PORTS = (8000, 8089, 5557, 9646, 9647)


def words(command: list[str]) -> list[str]:
    """As Compose has them, with DEFAULTS in the place of the .env file, and addresses from here."""
    resolved = [_filled(word) for word in command]
    if "--master-host" in resolved:
        resolved[resolved.index("--master-host") + 1] = "127.0.0.1"
    if "--master" in resolved:
        resolved[resolved.index("--metrics-port") + 1] = "9647"
    return resolved


def local(url: str) -> str:
    for service in SERVICES:
        url = url.replace(f"http://{service}:", "http://127.0.0.1:")
    return url


def _filled(word: str) -> str:
    for name, value in DEFAULTS.items():
        if word.startswith("${" + name):
            return value
    return word


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


class Services:
    """Services of the file as processes of this machine."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._env = {
            "PATH": PATH,
            "HOME": str(folder),
            "TOKENSWARM_CACHE": str(cache),
            "TOKENSWARM_RUNS": str(folder / "runs"),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> None:
        given = SERVICES[name].get("environment", {})
        env = {key: local(_filled(value)) for key, value in given.items() if key == "LOCUST_HOST"}
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    words(SERVICES[name]["command"]),
                    cwd=ROOT,
                    env=self._env | env,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def healthy(self, name: str) -> bool:
        """By the service's own check, as Docker runs it."""
        kind, *command = SERVICES[name]["healthcheck"]["test"]
        assert kind == "CMD"
        done = subprocess.run(command, env=self._env, capture_output=True, timeout=30)
        return done.returncode == 0

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def close(self) -> None:
        for process in reversed(self._processes):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, corpus_cache: Path) -> Iterator[Services]:
    if not until(lambda: all(map(is_free, PORTS)), 30.0):
        taken = [port for port in PORTS if not is_free(port)]
        pytest.fail(f"ports of docker-compose.yml are in use on this machine: {taken}")
    running = Services(tmp_path_factory.mktemp("compose"), corpus_cache)
    try:
        for name in ("engine", "master", "worker"):
            running.start(name)
            assert until(lambda name=name: running.healthy(name), START_TIMEOUT_S), running.log(
                name
            )
        yield running
    finally:
        running.close()


def post(path: str, **form: str) -> dict[str, Any]:
    body = urllib.parse.urlencode(form).encode()
    with urllib.request.urlopen(f"http://127.0.0.1:8089/{path}", body, timeout=60) as response:
        answer: dict[str, Any] = orjson.loads(response.read())
    return answer


def test_the_worker_sends_what_the_web_ui_starts(services: Services) -> None:
    """And Prometheus would find both pages through the master's list."""

    def listed() -> list[str]:
        with urllib.request.urlopen("http://127.0.0.1:9647/sd", timeout=5) as response:
            return [page for group in orjson.loads(response.read()) for page in group["targets"]]

    assert until(lambda: len(listed()) == 2, START_TIMEOUT_S), services.log("worker")
    assert listed()[0] == "127.0.0.1:9647" and listed()[1].endswith(":9646")
    answer = post(
        "swarm",
        user_count="4",
        spawn_rate="4",
        profile="small",
        host=local(DEFAULTS["TARGET"]),
        run_name="as-composed",
    )
    assert answer["success"], answer
    folder = services.folder / "runs" / "as-composed"
    ledger = folder / "worker-0.jsonl"
    assert until(lambda: ledger.exists() and ledger.read_bytes().count(b"\n") > 4, RUN_TIMEOUT_S), (
        services.log("worker")
    )
    post("stop")
    assert until((folder / "summary.json").exists, RUN_TIMEOUT_S), services.log("master")
    records = read_run(folder).records
    assert {record.outcome for record in records} <= {"ok", "cancelled", "unfinished"}
    assert "Traceback" not in services.log("worker") + services.log("master")
    for port in (9646, 9647):
        shown = metrics(f"http://127.0.0.1:{port}")
        assert shown["tokenswarm_turns_total"] == len(records)


def test_a_process_that_is_gone_is_not_healthy(services: Services) -> None:
    """The check fails on a port where nothing listens, so it says something."""
    services.close()
    time.sleep(0.1)
    assert not any(services.healthy(name) for name in ("engine", "worker", "master"))


@pytest.mark.parametrize(
    ("name", "program", "options"),
    [
        (
            "prometheus",
            "prometheus",
            ("--config.file={folder}/p.yml", "--storage.tsdb.path={folder}/d"),
        ),
        ("pushgateway", "prometheus-pushgateway", ()),
    ],
)
def test_the_check_of_the_real_program_passes(
    name: str, program: str, options: tuple[str, ...], tmp_path: Path
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"Debian's {program} is not installed")
    if shutil.which("wget") is None:
        pytest.skip("no wget: the images have BusyBox's")
    (tmp_path / "p.yml").write_text("global: {}\n")
    running = Services(tmp_path, tmp_path)
    command = [program, *(option.format(folder=tmp_path) for option in options)]
    port = {"prometheus": 9090, "pushgateway": 9091}[name]
    assert until(lambda: is_free(port), 30.0), f"port {port} is in use on this machine"
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: running.healthy(name), 20.0)
        finally:
            process.kill()

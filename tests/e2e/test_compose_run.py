"""The commands of docker-compose.yml, run here exactly as they stand there.

Names of services become 127.0.0.1, and ports become free ones of this machine, in the commands as
in the health checks: containers have an address each.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from tests.support.stack import ROOT, RUN_TIMEOUT_S, START_TIMEOUT_S, free_port, metrics, until
from tokenswarm.measure.ledger import read_run

SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
# `locust` and `python` are those of the environment that the tests run in, as in the image.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
DEFAULTS = {"ENGINE_PRESET": "trtllm-like", "ENGINE_SPEED": "20", "TARGET": "http://engine:8000"}
SERVICE_PORTS = (
    *(("engine", "8000"), ("master", "8089"), ("master", "5557"), ("master", "9646")),
    *(("worker", "9646"), ("prometheus", "9090"), ("pushgateway", "9091")),
)


@cache
def here(service: str, port: str) -> str:
    """The port on this machine that is this port of the service's container."""
    assert (service, port) in SERVICE_PORTS
    return str(free_port())


def words(name: str, command: list[str]) -> list[str]:
    """Of a service, as Compose has them, with DEFAULTS in the place of the .env file, and ports and
    addresses from here."""
    resolved = [local(name, _filled(word)) for word in command]
    if "--master-host" in resolved:
        resolved[resolved.index("--master-host") + 1] = "127.0.0.1"
    return resolved


def local(name: str, word: str) -> str:
    """A word of this service: a port, an address, or anything else."""
    if (name, word) in SERVICE_PORTS:
        return here(name, word)
    for service, port in SERVICE_PORTS:
        for address in (service, "127.0.0.1") if service == name else (service,):
            if f"http://{address}:{port}" in word:
                return word.replace(f"{address}:{port}", f"127.0.0.1:{here(service, port)}")
    return word


def _filled(word: str) -> str:
    for name, value in DEFAULTS.items():
        if word.startswith("${" + name):
            return value
    default = re.fullmatch(r"\$\{\w+:-(.+)\}", word)
    return word if default is None else default[1]


class Services:
    """Services of the file as processes of this machine."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self._env = {
            "PATH": PATH,
            "HOME": str(folder),
            "TOKENSWARM_CACHE": str(cache),
            "TOKENSWARM_RUNS": str(folder / "runs"),
            # Locust's own ports stand in no command.
            "LOCUST_WEB_PORT": here("master", "8089"),
            "LOCUST_MASTER_BIND_PORT": here("master", "5557"),
            "LOCUST_MASTER_NODE_PORT": here("master", "5557"),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str) -> None:
        given = SERVICES[name].get("environment", {})
        needed = ("LOCUST_HOST", "TOKENSWARM_SECRET")
        env = {k: local(name, _filled(text)) for k, text in given.items() if k in needed}
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    words(name, SERVICES[name]["command"]),
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
        resolved = [local(name, word) for word in command]
        assert resolved != command
        done = subprocess.run(resolved, env=self._env, capture_output=True, timeout=30)
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
    running = Services(tmp_path_factory.mktemp("compose"), corpus_cache)
    try:
        for name in ("engine", "master", "worker"):
            running.start(name)
            assert until(partial(running.healthy, name), START_TIMEOUT_S), running.log(name)
        yield running
    finally:
        running.close()


def post(path: str, **form: str) -> dict[str, Any]:
    body = urllib.parse.urlencode(form).encode()
    url = f"http://127.0.0.1:{here('master', '8089')}/{path}"
    with urllib.request.urlopen(url, body, timeout=60) as response:
        answer: dict[str, Any] = orjson.loads(response.read())
    return answer


def test_the_worker_sends_what_the_web_ui_starts(services: Services) -> None:
    """And Prometheus would find both pages through the master's list."""
    pages = [here("master", "9646"), here("worker", "9646")]

    def listed() -> list[str]:
        with urllib.request.urlopen(f"http://127.0.0.1:{pages[0]}/sd", timeout=5) as response:
            return [page for group in orjson.loads(response.read()) for page in group["targets"]]

    assert until(lambda: len(listed()) == 2, START_TIMEOUT_S), services.log("worker")
    assert [page.rpartition(":")[2] for page in listed()] == pages
    answer = post(
        "swarm",
        user_count="4",
        spawn_rate="4",
        profile="small",
        host=local("worker", DEFAULTS["TARGET"]),
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
    for port in pages:
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
    (port,) = (port for service, port in SERVICE_PORTS if service == name)
    command.append(f"--web.listen-address=127.0.0.1:{here(name, port)}")
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: running.healthy(name), 20.0)
        finally:
            process.kill()

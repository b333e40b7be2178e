"""`make live`'s script: ports, configuration, bad options, a machine without Prometheus."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.support.deployed_commands import parsed_locust
from tokenswarm.commands.live import (
    ENGINE,
    MASTER,
    PUSHGATEWAY,
    Stack,
    _await,
    free_port,
    native_configuration,
)

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "live.md").read_text()


def test_a_port_in_use_is_replaced_by_a_free_one():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        other = free_port(taken)
    assert other != taken
    assert free_port(taken) == taken


def test_the_shipped_configuration_with_addresses_of_this_machine(tmp_path):
    local = {MASTER: "127.0.0.1:1", ENGINE: "127.0.0.1:2", PUSHGATEWAY: "127.0.0.1:3"}
    native_configuration(tmp_path, local)
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    for name, address in local.items():
        assert name not in re.sub("#.*", "", text) and address in text
    if shutil.which("promtool"):
        checked = subprocess.run(
            ("promtool", "check", "config", tmp_path / "prometheus.yml"), capture_output=True
        )
        assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("words", ["--workers 0", "--workers two", "--speed 0", "--speed fast"])
def test_a_bad_option_says_what_is_accepted(words):
    tried = subprocess.run(
        (sys.executable, "-m", "tokenswarm", "live", *words.split()),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert tried.returncode == 2
    assert words.split()[0] in tried.stderr and "accepted: a number from" in tried.stderr
    assert "Traceback" not in tried.stderr


def test_without_prometheus_it_says_so_and_traffic_can_run(tmp_path):
    env = os.environ | {"PATH": str(tmp_path), "TOKENSWARM_RUNS": str(tmp_path / "runs")}
    command = (sys.executable, "-m", "tokenswarm", "live", "--workers", "1", "--speed", "20")
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as live:
        try:
            assert live.stdout is not None
            lines: list[str] = []
            while "Ctrl-C" not in (lines[-1] if lines else ""):
                lines.append(live.stdout.readline())
                assert lines[-1], "".join(lines)
            printed = "".join(lines)
            assert "Prometheus  not installed" in printed and "Pushgateway" not in printed
            web = re.search(r"^web UI\s+(\S+)$", printed, re.MULTILINE)
            assert web is not None
            with urllib.request.urlopen(web[1], timeout=10) as response:
                assert response.status == 200
        finally:
            live.send_signal(signal.SIGINT)
        assert live.wait(60) == 0


def test_commands_of_the_page_are_accepted():
    (worker,) = re.findall(r"`(locust [^`]*)`", PAGE)
    options = parsed_locust(shlex.split(worker))
    assert options.worker and options.metrics_host == "0.0.0.0"
    (live,) = re.findall(r"`tokenswarm (live [^`]*)`", PAGE)
    known = subprocess.run(
        (sys.executable, "-m", "tokenswarm", *shlex.split(live), "--help"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    assert set(re.findall(r"--[a-z-]+", live)) <= set(re.findall(r"--[a-z-]+", known))
    assert re.search(r"^live:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for path in re.findall(r"(?<!/)(?:deploy|exporters)/[\w./-]+\w", PAGE):
        assert (ROOT / path).exists() or path.endswith("*"), path


def test_a_process_that_ends_at_once_ends_the_start_at_once():
    stack = Stack()
    stack.start("the engine", sys.executable, "-c", "raise SystemExit(3)")
    with pytest.raises(SystemExit, match="the engine has ended with exit code 3, before"):
        _await(stack, "the engine", "http://127.0.0.1:9/health")  # nothing listens there

"""tokenswarm live: engine, master with web UI, workers and a native Prometheus, until Ctrl-C.

The stack of docker-compose.yml without containers and without Grafana. The usual ports where they
are free, others where not; the addresses are printed. Everything is simulated and says so.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tokenswarm.commands.run import FOLDER, LOCUSTFILES

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "exporters" / "prometheus" / "provisioning"
LOCUSTFILE = str(FOLDER / LOCUSTFILES["agents"][0])
START_LIMIT_S = 60.0  # guess: everything is ready within 5 s on two idle cores
STOP_LIMIT_S = 10.0  # then it is killed
LAST_TURNS_S = 150.0  # of the master: --stop-timeout is 120 s, then it writes the results
# Addresses in the shipped configuration, which are names of containers.
MASTER, ENGINE, PUSHGATEWAY = "master:9646", "engine:8000", "pushgateway:9091"


class Stack:
    """The processes of one live session, each in a process group of its own."""

    def __init__(self) -> None:
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        # A group of its own: Ctrl-C goes to this script alone, which stops them in order.
        self.processes[name] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def gone(self) -> str | None:
        """A process that has ended meanwhile; it is reported once."""
        for name, process in self.processes.items():
            if process.poll() is not None:
                del self.processes[name]
                return f"{name} has ended with exit code {process.returncode}"
        return None

    def stop(self) -> None:
        """The master first: it ends the run, collects its workers' last turns, asks the engine how
        late it was and writes the results. Then the rest; at once on another Ctrl-C."""
        with suppress(KeyboardInterrupt):
            for name in sorted(self.processes, key=lambda name: name != "master"):
                _end(self.processes[name], LAST_TURNS_S if name == "master" else STOP_LIMIT_S)
        for process in self.processes.values():
            _end(process, 0.0)


def _end(process: subprocess.Popen[bytes], limit_s: float) -> None:
    """Asks it to, and kills its group when it has not after limit_s."""
    with suppress(ProcessLookupError):
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(limit_s)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # stops like Ctrl-C
    stack = Stack()
    with tempfile.TemporaryDirectory(prefix="tokenswarm-live-") as folder:
        try:
            _start(stack, options, Path(folder))
            _watch(stack)
            return 1
        except KeyboardInterrupt:
            print("live: stopping when the turns under way have ended; Ctrl-C: at once", flush=True)
            return 0
        finally:
            stack.stop()


def _watch(stack: Stack) -> None:
    """Until the last process has ended, which none should."""
    while stack.processes:
        if (news := stack.gone()) is not None:
            print(f"live: {news}; the others go on", flush=True)
        time.sleep(0.5)


def _start(stack: Stack, options: argparse.Namespace, folder: Path) -> None:
    engine, web, link = free_port(8000), free_port(8089), free_port(5557)
    metrics, prometheus, gateway = free_port(9646), free_port(9090), free_port(9091)
    python = (sys.executable, "-m")
    stack.start(
        "engine",
        *python,
        "tokenswarm",
        "engine",
        "--port",
        f"{engine}",
        "--speed",
        f"{options.speed:g}",
    )
    _await(stack, "the engine", f"http://127.0.0.1:{engine}/health")
    locust = (*python, "locust", "-f", LOCUSTFILE, "--metrics-port", f"{metrics}")
    stack.start(
        "master",
        *locust,
        *("--master", "--master-bind-port", f"{link}", "--host", f"http://127.0.0.1:{engine}"),
        *("--web-host", "127.0.0.1", "--web-port", f"{web}"),
    )
    _await(stack, "the web UI", f"http://127.0.0.1:{web}/")
    for number in range(options.workers):
        stack.start(f"worker {number}", *locust, "--worker", "--master-port", f"{link}")
    print(f"engine (simulated, speed {options.speed:g})  http://127.0.0.1:{engine}/metrics")
    print(f"web UI      http://127.0.0.1:{web}")
    has_gateway = shutil.which("prometheus-pushgateway") is not None
    if has_gateway:
        address = f"127.0.0.1:{gateway}"
        stack.start("Pushgateway", "prometheus-pushgateway", f"--web.listen-address={address}")
        print(f"Pushgateway http://{address}")
    if shutil.which("prometheus") is None:
        print(
            "Prometheus  not installed (Debian: apt-get install prometheus); traffic runs without"
        )
    else:
        addresses = {
            MASTER: f"127.0.0.1:{metrics}",
            ENGINE: f"127.0.0.1:{engine}",
            PUSHGATEWAY: f"127.0.0.1:{gateway}",
        }
        _start_prometheus(stack, folder, addresses, f"127.0.0.1:{prometheus}")
    print("Start a test in the web UI. Ctrl-C here stops everything.", flush=True)


def _start_prometheus(stack: Stack, folder: Path, addresses: dict[str, str], own: str) -> None:
    native_configuration(folder, addresses)
    stack.start(
        "Prometheus",
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address={own}",
        "--log.level=warn",
    )
    _await(stack, "Prometheus", f"http://{own}/-/ready")
    print(f"Prometheus  http://{own}")


def native_configuration(folder: Path, addresses: dict[str, str]) -> None:
    """The shipped configuration with addresses of this machine instead of container names."""
    for path in sorted(CONFIGURATION.glob("*.yml")):
        text = path.read_text()
        for name, address in addresses.items():
            text = text.replace(name, address)
        (folder / path.name).write_text(text)


def free_port(wanted: int) -> int:
    """The wanted port, or another one where something listens on it already."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise SystemExit("live: no free port on 127.0.0.1")


def _await(stack: Stack, what: str, url: str) -> None:
    give_up_at = time.monotonic() + START_LIMIT_S
    while time.monotonic() < give_up_at:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            if (news := stack.gone()) is not None:
                raise SystemExit(f"live: {news}, before {what} answered") from None
            time.sleep(0.1)
    raise SystemExit(f"live: {what} did not answer at {url} within {START_LIMIT_S:g} s")


def _positive(kind: Callable[[str], float], least: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(
                f"{text!r} is not accepted; accepted: a number from {least:g} on"
            )
        return value

    return parse


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tokenswarm live", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "--speed", type=_positive(float, 0.1), default=1.0, help="engine seconds per wall second"
    )
    parser.add_argument("--workers", type=_positive(int, 1), default=2, help="processes that send")
    return parser

"""A real coding agent against the embedded engine: what it sends, beside what --agent sends.

    npm install --prefix /tmp/agents opencode-ai @openai/codex   # OpenCode, Codex
    python scripts/real/agent.py opencode --npm /tmp/agents
    python scripts/real/agent.py codex --npm /tmp/agents

It runs in a network namespace that has loopback only (`unshare -rn`, so Linux and user namespaces
are needed): agent, engine and a recorder between them. The recorder changes one field, tool_choice,
so that the engine's answers are a call of each tool of the plan and then text; what the agent sends
is recorded before. The engine's arguments are invented, so the tools answer with errors, which the
agent sends back like any result. Then tokenswarm sends a few turns with --agent to the same
recorder, and both are compared: headers, fields, tools, roles and the shapes of messages.

Exit codes: 0 compared, 1 the agent did not come to its end, 2 something is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from tokenswarm.exit_codes import BAD_INPUT

AGENT_S = 240.0  # guess: three answers of the engine, and the agent's own start
RUN_S = 180.0  # guess: tokenswarm's start on a busy machine, and ten seconds of traffic
MODEL = "sim-model"
TASK = "Fix the bug in sum.py"
FILE = "def add(a, b):\n    return a - b\n"
INSIDE = "TOKENSWARM_AGENT_INSIDE"  # set in the namespace


@dataclass(frozen=True, slots=True)
class Real:
    """How an agent is had, told where the engine is, and run. plan: tools that it has."""

    package: str
    binary: str
    plan: tuple[str, ...]
    words: tuple[str, ...]
    configure: Callable[[Path, str], dict[str, str]]


def _opencode(folder: Path, url: str) -> dict[str, str]:
    model = {"name": MODEL, "limit": {"context": 200_000, "output": 400}}
    provider = {
        "npm": "@ai-sdk/openai-compatible",
        "name": "sim",
        "options": {"baseURL": f"{url}/v1", "apiKey": "sk-none"},
        "models": {MODEL: model},
    }
    config = {"provider": {"sim": provider}, "autoupdate": False, "share": "disabled"}
    (folder / "opencode.json").write_text(json.dumps(config))
    return {
        "OPENCODE_CONFIG": str(folder / "opencode.json"),
        "OPENCODE_DISABLE_MODELS_FETCH": "1",
        "OPENCODE_DISABLE_AUTOUPDATE": "1",
    }


def _codex(folder: Path, url: str) -> dict[str, str]:
    (folder / "config.toml").write_text(
        f'model = "{MODEL}"\nmodel_provider = "sim"\n\n[model_providers.sim]\nname = "sim"\n'
        f'base_url = "{url}/v1"\nenv_key = "SIM_KEY"\nwire_api = "responses"\n'
    )
    return {"CODEX_HOME": str(folder), "SIM_KEY": "sk-none"}


REAL = {
    "opencode": Real(
        "opencode-ai",
        "node_modules/opencode-linux-*64*/bin/opencode",
        ("read", "glob"),
        ("run", "-m", f"sim/{MODEL}", TASK),
        _opencode,
    ),
    "codex": Real(
        "@openai/codex",
        "node_modules/@openai/codex-linux-*/vendor/*/bin/codex",
        ("exec_command", "exec_command"),
        ("exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", TASK),
        _codex,
    ),
}


@dataclass(frozen=True, slots=True)
class Request:
    """As it was sent. events: names and types of the answer's events, in the order they came."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    events: tuple[str, ...] = ()


class Recorder(ThreadingHTTPServer):
    """Between agent and engine. plan: tools still to be called; None: tool_choice stays."""

    daemon_threads = True

    def __init__(self, engine_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Exchange)
        self.engine_port = engine_port
        self.requests: list[Request] = []
        self.plan: list[str] | None = None
        self.lock = Lock()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def directed(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body with the plan's next tool to be called, or with none."""
        if self.plan is None or not body.get("tools"):
            return body
        name = self.plan.pop(0) if self.plan else None
        if name is None:
            return {**body, "tool_choice": "none"}
        named = {"name": name} if "input" in body else {"function": {"name": name}}
        return {**body, "tool_choice": {"type": "function", **named}}


class _Exchange(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Recorder

    def do_GET(self) -> None:
        self._forward(b"")

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.loads(sent)
        with self.server.lock:
            directed = self.server.directed(body)
        answer = self._forward(json.dumps(directed).encode())
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.server.lock:
            self.server.requests.append(Request(self.path, headers, body, events(answer)))

    def _forward(self, body: bytes) -> bytes:
        engine = HTTPConnection("127.0.0.1", self.server.engine_port)
        kind = {"Content-Type": "application/json"}
        engine.request(self.command, self.path, body or None, kind)
        answer = engine.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.getheader("Content-Type") or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return content

    def log_message(self, format: str, *args: object) -> None:
        """Nothing to standard error for each request."""


def events(answer: bytes) -> tuple[str, ...]:
    """The kinds of a stream's events, each once: their types, or the keys of a delta."""
    kinds: list[str] = []
    for line in answer.splitlines():
        if not line.startswith(b"data: {"):
            continue
        event = json.loads(line[6:])
        deltas = [choice.get("delta", {}) for choice in event.get("choices") or ()]
        kinds += [event["type"]] if "type" in event else [key for delta in deltas for key in delta]
    return tuple(dict.fromkeys(kinds))


def main() -> int:
    options = _parser().parse_args()
    real = REAL[options.agent]
    found = sorted(options.npm.glob(real.binary))
    missing = _missing(found, real, options.npm)
    if missing:
        print(f"{options.agent}: {missing}", file=sys.stderr)
        return 2
    if INSIDE not in os.environ:
        inside = 'ip link set lo up && exec "$@"'
        words = ("unshare", "-rn", "sh", "-c", inside, "sh", sys.executable, *sys.argv)
        return subprocess.call(words, env={**os.environ, INSIDE: "1"})
    with tempfile.TemporaryDirectory() as folder:
        return _compare(options.agent, found[0], Path(folder))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("agent", choices=REAL)
    parser.add_argument("--npm", type=Path, required=True, help="folder of npm install --prefix")
    return parser


def _missing(found: Sequence[Path], real: Real, npm: Path) -> str | None:
    for program in ("unshare", "ip"):
        if shutil.which(program) is None:
            return f"needs {program}, for a network namespace with loopback only"
    if subprocess.call(("unshare", "-rn", "true"), stderr=subprocess.DEVNULL):
        return "needs user namespaces, which are not allowed here"
    if not found:
        return f"needs the npm package: npm install --prefix {npm} {real.package}"
    return None


def _compare(name: str, binary: Path, folder: Path) -> int:
    real = REAL[name]
    with _engine(folder) as port:
        recorder = Recorder(port)
        Thread(target=recorder.serve_forever, daemon=True).start()
        recorder.plan = list(real.plan)
        ended = _run_agent(real, binary, folder, recorder.url)
        theirs, recorder.requests = recorder.requests, []
        recorder.plan = None
        _run_tokenswarm(name, folder, recorder.url)
        ours = recorder.requests[1:]  # the first is the rehearsal's
    with_tools = [request for request in theirs if request.body.get("tools")]
    print(f"{name}: {len(theirs)} requests, exit code {ended}; ours: {len(ours)}\n")
    if ended or len(with_tools) <= len(real.plan) or not ours:
        return 1
    print(table(facts(with_tools), facts(ours)))
    return 0


@contextmanager
def _engine(folder: Path) -> Iterator[int]:
    """Its port, once it says that it listens."""
    words = (sys.executable, "-m", "tokenswarm", "engine", "--port", "0", "--speed", "20")
    with (folder / "engine.out").open("w+") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT)
        try:
            said = ""
            while "http://" not in said:
                if process.poll() is not None:
                    raise RuntimeError(f"the engine did not start: {said}")
                time.sleep(0.2)
                said = (folder / "engine.out").read_text()
            url = next(word for word in said.split() if word.startswith("http://"))
            yield int(url.rpartition(":")[2].partition("/")[0])
        finally:
            process.terminate()
            process.wait()


def _run_agent(real: Real, binary: Path, folder: Path, url: str) -> int:
    home, work = folder / "home", folder / "work"
    home.mkdir()
    work.mkdir()
    (work / "sum.py").write_text(FILE)
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TERM") if name in os.environ}
    env = {**kept, "HOME": str(home), **real.configure(folder, url)}
    with suppress(subprocess.TimeoutExpired):
        return subprocess.run(
            (str(binary), *real.words),
            cwd=work,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=AGENT_S,
        ).returncode
    return 124


def _run_tokenswarm(name: str, folder: Path, url: str) -> None:
    words = (sys.executable, "-m", "tokenswarm", "run", "agents", "--host", url, "--agent", name)
    load = ("--profile", "small", "--tpm", "300k", "--ramp", "1s", "-t", "12s")
    places = ("-u", "8", "-r", "8", "--runs", str(folder / "runs"))
    ran = subprocess.run(
        (*words, *load, *places), capture_output=True, text=True, timeout=RUN_S, check=False
    )
    if ran.returncode == BAD_INPUT:
        raise RuntimeError(ran.stderr)


def facts(requests: Sequence[Request]) -> dict[str, set[str]]:
    """What requests are by form, nothing of their texts: paths, headers, fields with the values of
    short ones, tools, messages and the answers' events."""
    bodies = [request.body for request in requests]
    return {
        "path": {request.path for request in requests},
        "headers": {header for request in requests for header in request.headers},
        "fields": {field for body in bodies for field in body},
        "values": {said for body in bodies for said in _short(body)},
        "tool keys": {
            ",".join(sorted(tool)) for body in bodies for tool in body.get("tools") or ()
        },
        "messages": {shape for body in bodies for shape in _shapes(body)},
        "events": {event for request in requests for event in request.events},
    }


def _short(body: Mapping[str, Any]) -> Iterator[str]:
    for name, value in body.items():
        if isinstance(value, bool | dict | list | str) and name not in _LONG:
            yield f"{name}={json.dumps(value)}"


_LONG = ("model", "messages", "input", "tools", "system", "instructions", "prompt_cache_key") + (
    "client_metadata",
    "metadata",
)


def _shapes(body: Mapping[str, Any]) -> Iterator[str]:
    """Of each message or item: type or role, its keys, and the kinds of its parts."""
    for message in body.get("messages") or body.get("input") or ():
        parts = message.get("content")
        kinds = sorted({part["type"] for part in parts}) if isinstance(parts, list) else []
        role = message.get("role") or message.get("type")
        yield f"{role}({','.join(sorted(message))})" + (f" of {'+'.join(kinds)}" if kinds else "")


def table(theirs: Mapping[str, set[str]], ours: Mapping[str, set[str]]) -> str:
    """Markdown: what both have, and what one of them has alone."""
    lines = ["| | both | the agent alone | tokenswarm alone |", "|---|---|---|---|"]
    for what, said in theirs.items():
        both, alone, own = said & ours[what], said - ours[what], ours[what] - said
        lines.append(f"| {what} | {_listed(both)} | {_listed(alone)} | {_listed(own)} |")
    return "\n".join(lines)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in sorted(words)) or "-"


if __name__ == "__main__":
    sys.exit(main())

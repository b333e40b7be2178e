"""scripts/real/agent.py: what it reads out of requests and answers, without an agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "real" / "agent.py"
CHECKS = """
from agent import Recorder, Request, events, facts, table
chat = b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\\n\\n'
assert events(chat + b'data: [DONE]\\n\\n') == ("role", "content")
named = b'event: a\\ndata: {"type":"response.created"}\\n\\n'
assert events(named * 2) == ("response.created",)
body = {
    "model": "m", "stream": True, "tool_choice": "auto", "tools": [{"type": "function"}],
    "messages": [
        {"role": "user", "content": "secret text"},
        {"role": "assistant", "content": [{"type": "text", "text": "more"}]},
    ],
}
seen = facts([Request("/v1/x", {"a-key": "k"}, body, ("role",))])
assert seen == {
    "path": {"/v1/x"}, "headers": {"a-key"},
    "fields": {"model", "stream", "tool_choice", "tools", "messages"},
    "values": {"stream=true", 'tool_choice="auto"'}, "tool keys": {"type"},
    "messages": {"user(content,role)", "assistant(content,role) of text"}, "events": {"role"},
}
ours = {**seen, "fields": {"model", "own"}}
assert "| fields | `model` | `messages`, `stream`, `tool_choice`, `tools` | `own` |" in (
    table(seen, ours)
)
recorder = Recorder(1)
assert recorder.directed(body) is body
recorder.plan = ["read"]
assert recorder.directed({"messages": []}) == {"messages": []}
named = {"type": "function", "function": {"name": "read"}}
assert recorder.directed(body)["tool_choice"] == named
assert recorder.directed(body)["tool_choice"] == "none"
recorder.plan = ["read"]
flat = recorder.directed({"input": [], "tools": [1]})["tool_choice"]
assert flat == {"type": "function", "name": "read"}
recorder.server_close()
"""


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run((sys.executable, *words), capture_output=True, text=True)


def test_requests_are_compared_by_their_form() -> None:
    path = f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r})\n"
    ran = run("-c", path + CHECKS)
    assert ran.returncode == 0, ran.stderr


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    ran = run(str(SCRIPT), "codex", "--npm", str(tmp_path))
    assert ran.returncode == 2
    assert "codex: needs" in ran.stderr

"""Same seed, same prompts: byte for byte, salt aside, however many processes send them."""

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.recording_server import recording_server
from tests.support.stack import AGENTS, Stack, free_port
from workload.corpus import salt_line

# Pauses so short that every developer gets through several sessions in a few seconds.
HASTY = """\
base = "small"
tool_gap_s.median = 0.03
human_gap_s.median = 0.06
"""
SALT_LINE = re.compile(rb"Workspace [0-9-]+")
# The salt lines under --warm, where the run adds nothing to the session's name and life.
SESSION_OF = {
    salt_line(f"/{name}/0").strip().encode(): name
    for name in (f"w{w}.u{u}.s{s}" for w in range(2) for u in range(2) for s in range(100))
}
Sessions = dict[bytes, list[bytes]]  # bodies in the order of the turns, by salt line


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("profile") / "hasty.toml"
    path.write_text(HASTY)
    return path


@pytest.fixture(scope="module")
def warm(stack: Stack, profile: Path) -> Sessions:
    return _sent(stack, profile, "--warm")


def test_two_warm_runs_send_the_same_bytes(stack: Stack, profile: Path, warm: Sessions) -> None:
    again = _sent(stack, profile, "--warm")
    assert {"w0.u0.s0", "w0.u1.s0", "w0.u0.s1", "w0.u1.s1"} <= _names(warm) & _names(again)
    _same_turns(warm, again)


def test_without_warm_only_the_salt_line_differs(
    stack: Stack, profile: Path, warm: Sessions
) -> None:
    salted = _sent(stack, profile)
    assert not salted.keys() & warm.keys()
    ours, theirs = _by_opening(warm), _by_opening(salted)
    assert len(ours.keys() & theirs.keys()) >= 4
    _same_turns(ours, theirs)


def test_another_seed_sends_other_prompts(stack: Stack, profile: Path, warm: Sessions) -> None:
    other = _sent(stack, profile, "--warm", "--seed", "2")
    assert not _by_opening(warm).keys() & _by_opening(other).keys()


def test_worker_0_sends_what_a_single_process_sends(
    stack: Stack, profile: Path, warm: Sessions
) -> None:
    port = str(free_port())
    ports = ("--master-bind-port", port, "--master-port", port)
    forked = _sent(stack, profile, "--warm", "--processes", "2", *ports)
    assert {"w0.u0.s0", "w0.u0.s1", "w1.u0.s0"} <= _names(forked)
    assert {"w0.u0.s0", "w0.u0.s1"} <= _names(warm)
    _same_turns(warm, forked)


def test_a_session_grows_by_its_turns(warm: Sessions) -> None:
    """Each prompt starts with the one before, byte for byte."""
    for bodies in warm.values():
        for last, following in zip(bodies, bodies[1:], strict=False):
            messages = last[: last.rindex(b'],"max_tokens"')]
            assert following.startswith(messages)


def _sent(stack: Stack, profile: Path, *options: str) -> Sessions:
    """What two developers send in three seconds."""
    with recording_server() as server:
        run = ("--host", server.url, "--profile", str(profile), "-u", "2", "-r", "2", "-t", "3s")
        finished = stack.locust(AGENTS, *run, *options)
        assert finished.ran, finished.printed
    sessions: Sessions = defaultdict(list)
    for body in server.bodies:
        if salt := SALT_LINE.search(body):  # the preflight has none
            sessions[salt[0]].append(body)
    return dict(sessions)


def _names(sessions: Sessions) -> set[str]:
    """Of a warm run."""
    return {SESSION_OF[salt] for salt in sessions}


def _by_opening(sessions: Sessions) -> Sessions:
    """Without their salt lines, and found by what they begin with instead."""
    bare = [[SALT_LINE.sub(b"", body, count=1) for body in bodies] for bodies in sessions.values()]
    return {bodies[0]: bodies for bodies in bare}


def _same_turns(ours: Sessions, theirs: Sessions) -> None:
    """The shared sessions are the same as far as both got."""
    shared = ours.keys() & theirs.keys()
    assert sum(min(len(ours[s]), len(theirs[s])) for s in shared) > 10
    for session in shared:
        turns = min(len(ours[session]), len(theirs[session]))
        assert ours[session][:turns] == theirs[session][:turns]

"""The probes against pages that are good, hang, are huge, unknown or broken."""

import logging
from itertools import count

import gevent
import pytest

from tests.support.scripted_server import ScriptedServer, read, send, wait_close
from tokenswarm.measure.books import read_series
from tokenswarm.shell import probes
from tokenswarm.shell.probes import Probes

PAGE = b"vllm:prompt_tokens_total 5.0\n"


def answer(body: bytes, status: bytes = b"200 OK"):
    head = b"HTTP/1.1 %s\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body))
    return [read(), send(head + body)]


PAGES = {
    "good": (answer(PAGE), ""),
    "hung": ([read(), wait_close()], "no answer within"),
    "huge": (answer(b"x" * 200_000), "larger than"),
    "unknown": (answer(b"go_goroutines 7\n"), "no metric of a known engine"),
    "broken": (answer(b"vllm:prompt_tokens_total{ 3\n"), "cannot be read"),
    "gone": (answer(b"no", b"404 Not Found"), "HTTPError"),
}


@pytest.fixture
def look(tmp_path, monkeypatch, caplog):
    """Probes one page three times; gives its readings and the warnings."""

    def look(name):
        monkeypatch.setattr(probes, "TIMEOUT_S", 0.5)
        monkeypatch.setattr(probes, "EVERY_WALL_S", 0.05)
        monkeypatch.setattr(probes, "MAX_BYTES", 100_000)
        steps, _ = PAGES[name]
        seconds = count()
        with ScriptedServer({name: steps}) as server, caplog.at_level(logging.WARNING):
            url = f"{server.url(name)}/metrics"
            asked = Probes([url], tmp_path, lambda: float(next(seconds)), None)
            while len(read_series(tmp_path)) < 2:
                gevent.sleep(0.02)
            asked.close()
        return read_series(tmp_path), [r for r in caplog.records if "--metrics-url" in r.message]

    return look


@pytest.mark.parametrize("name", PAGES)
def test_every_look_is_kept_and_a_problem_told_once(look, name):
    readings, warnings = look(name)
    problem = PAGES[name][1]
    assert len(readings) >= 3
    assert [reading.at_s for reading in readings] == sorted({r.at_s for r in readings})
    for reading in readings:
        assert problem in reading.problem
        assert (reading.engine, reading.values.get("prompt_tokens")) == (
            (None, None) if problem else ("vLLM", 5.0)
        )
    assert len(warnings) == bool(problem)

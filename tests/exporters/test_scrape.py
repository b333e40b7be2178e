"""Pages over HTTP: ports in use, addresses that others reach, the two forms of discovery."""

from __future__ import annotations

import json
import logging
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPResponse
from typing import Any

import gevent
import pytest

from exporters.prometheus.scrape import PORTS_TRIED, PageServer, TargetsFile, reachable

PIECES = ("# TYPE t gauge\n", "t 1\n")


def fetch(url: str, **settings: Any) -> tuple[int, str, str]:
    """Status, content type, body; from a thread, so that the server in this one can answer."""

    def get() -> tuple[int, str, str]:
        request = urllib.request.Request(url, **settings)
        try:
            answer: HTTPResponse = urllib.request.urlopen(request, timeout=10)
        except urllib.error.HTTPError as error:
            return error.code, "", ""
        with answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()

    answer: tuple[int, str, str] = gevent.get_hub().threadpool.apply(get)
    return answer


def server(port: int = 0, pages=None, **settings: int) -> PageServer:
    return PageServer("127.0.0.1", port, lambda: PIECES, pages, **settings)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_the_page_is_served_as_prometheus_text():
    with closing(server()) as serving:
        status, kind, body = fetch(f"http://127.0.0.1:{serving.port}/metrics")
    assert (status, body) == (200, "".join(PIECES))
    assert kind.startswith("text/plain; version=0.0.4")


def test_a_port_in_use_moves_the_page_to_the_next_one_and_says_so(taken, caplog):
    with caplog.at_level(logging.INFO), closing(server(taken)) as serving:
        assert taken < serving.port < taken + PORTS_TRIED
        assert fetch(f"http://127.0.0.1:{serving.port}/metrics")[0] == 200
    assert f"port {taken} is in use" in caplog.text


def test_two_servers_may_ask_for_one_port(taken):
    with closing(server(taken)) as first, closing(server(taken)) as second:
        assert first.port != second.port


def test_without_a_free_port_or_a_host_of_ours_there_is_an_error(taken):
    with pytest.raises(OSError, match=f"no free port from {taken} to {taken}"):
        server(taken, ports_tried=1)
    with pytest.raises(OSError):
        PageServer("192.0.2.1", 0, lambda: PIECES, None)


def test_a_page_on_every_interface_is_listed_by_the_name_that_the_list_was_asked_by():
    """`master:9646` in a network of containers; 127.0.0.1 would be Prometheus' own there."""
    pages = ["127.0.0.1:9646", "10.0.0.7:9647"]
    with closing(PageServer("0.0.0.0", 0, lambda: PIECES, lambda: pages)) as serving:
        url = f"http://127.0.0.1:{serving.port}/sd"
        body = fetch(url, headers={"Host": "master:9646"})[2]
    assert json.loads(body)[0]["targets"] == ["master:9646", "10.0.0.7:9647"]


def test_only_a_process_that_knows_all_pages_lists_them():
    with closing(server(pages=lambda: ["127.0.0.1:1", "10.0.0.7:9647"])) as knowing:
        status, kind, body = fetch(f"http://127.0.0.1:{knowing.port}/sd")
    assert (status, kind) == (200, "application/json")
    assert json.loads(body) == [{"targets": ["127.0.0.1:1", "10.0.0.7:9647"], "labels": {}}]
    with closing(server()) as worker:
        assert fetch(f"http://127.0.0.1:{worker.port}/sd")[0] == 404


def test_other_paths_and_methods_are_refused_and_the_server_goes_on():
    with closing(server()) as serving:
        url = f"http://127.0.0.1:{serving.port}"
        assert fetch(f"{url}/etc/passwd")[0] == 404
        assert fetch(f"{url}/metrics", data=b"x", method="POST")[0] == 405
        assert fetch(f"{url}/metrics")[0] == 200


def test_a_client_that_hangs_up_or_talks_nonsense_stops_nobody():
    with closing(server()) as serving:
        for said in (b"", b"nonsense\r\n\r\n", b"GET /metrics HTTP/1.1\r\n"):
            with socket.create_connection(("127.0.0.1", serving.port)) as client:
                client.sendall(said)
        assert fetch(f"http://127.0.0.1:{serving.port}/metrics")[0] == 200


def test_a_wildcard_becomes_the_address_that_leads_to_the_master():
    assert reachable("0.0.0.0", 9646, "127.0.0.1") == "127.0.0.1:9646"
    assert reachable("0.0.0.0", 9646, "no.such.host.invalid") == f"{socket.gethostname()}:9646"
    assert reachable("192.0.2.9", 9646, "127.0.0.1") == "192.0.2.9:9646"
    assert reachable("::1", 9646, "127.0.0.1") == "[::1]:9646"


def test_the_file_follows_the_pages_and_is_empty_at_the_end(tmp_path):
    pages, path = ["127.0.0.1:9646"], tmp_path / "targets.json"
    kept = TargetsFile(path, lambda: list(pages), every_wall_s=0.02)
    gevent.sleep(0.05)
    assert json.loads(path.read_bytes()) == [{"targets": ["127.0.0.1:9646"], "labels": {}}]
    pages.append("127.0.0.1:9647")
    gevent.sleep(0.1)
    assert json.loads(path.read_bytes())[0]["targets"] == pages
    kept.close()
    assert json.loads(path.read_bytes()) == []
    assert [p.name for p in tmp_path.iterdir()] == ["targets.json"]


def test_a_file_that_can_no_longer_be_written_is_a_warning(tmp_path, caplog):
    folder = tmp_path / "gone"
    kept = TargetsFile(folder / "targets.json", lambda: ["127.0.0.1:9646"])
    gevent.sleep(0.02)
    kept.close()
    assert "traffic goes on" in caplog.text

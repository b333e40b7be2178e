"""The *Coding agents* page of Locust's web UI: charts and a table by traffic level, as it goes.

Locust's own tabs hold tables only, so the charts stand on a page of our own under the same server
and login, `/coding-agents/`, and Locust's page gets a tab with the table, the CSV files in its
download tab, and a link. Everything the page needs is served from `exporters/web/`.

    GET  /coding-agents/            the page
    GET  /coding-agents/data        the state as JSON; ?run=NAME&since=SERIAL&seen=S: what is new
    GET  /coding-agents/turns.csv   every finished turn of the run
    GET  /coding-agents/levels.csv  the levels
    POST /coding-agents/tpm         {"tpm": "2.5M"}: a new level at this rate
"""

from __future__ import annotations

from locust.env import Environment
from locust.runners import (
    STATE_CLEANUP,
    STATE_INIT,
    STATE_MISSING,
    STATE_RUNNING,
    STATE_SPAWNING,
    STATE_STOPPED,
    STATE_STOPPING,
)

import csv
import io
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gevent
import orjson
from flask import Blueprint, Flask, Response, request, send_file, send_from_directory
from gevent.lock import Semaphore

from exporters.turns import Load
from exporters.web.live_run import DOTS, LiveRun
from tokenswarm.measure.ledger import TURN_FIELDS
from tokenswarm.measure.quantiles import samples_needed
from tokenswarm.measure.record import TurnRecord

KEY = "coding-agents"
ASSETS = Path(__file__).parent
SAMPLE_EVERY_S = 1.0  # wall seconds
# A turn as the ledger has it, but for its chunk gaps, and what is derived from it.
CSV_FIELDS = (
    *(name for name in TURN_FIELDS if name != "chunk_gaps_s"),
    *("ttft_s", "decode_tps", "e2e_s", "lateness_s", "hit_share"),
)
_WORDS_SHARE = 0.05  # of the time, at most, goes into the table and the verdict (guess)
_CSV_CHUNK = 200  # turns between two looks at the hub, about 5 ms (guess)
# Nothing of the page comes from elsewhere, and no script that a name could bring in runs.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
_SCRIPTS = ("numbers.js", "charts.js", "form.js", "page.js", "uPlot.iife.min.js")
_ASSETS = ",".join(repr(name) for name in (*_SCRIPTS, "page.css", "uPlot.min.css"))
# The report brings its own style and no script.
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
# Locust's word for what it does, and what that is to a person.
STATES = {
    STATE_INIT: "ready",
    STATE_MISSING: "no worker",
    STATE_SPAWNING: "starting developers",
    STATE_RUNNING: "running",
    STATE_CLEANUP: "stopping: turns under way may end",
    STATE_STOPPING: "stopping: turns under way may end",
    STATE_STOPPED: "stopped",
}
ON = (STATE_SPAWNING, STATE_RUNNING, STATE_CLEANUP, STATE_STOPPING)
PREPARING = "preparing: the endpoint is asked, prompts are made"
WRITING = "writing the report"
_LINK = (
    '<a href="./coding-agents/" style="position:fixed;left:16px;bottom:16px;z-index:2000;'
    "padding:10px 16px;border-radius:999px;background:#15803d;color:#fff;text-decoration:none;"
    'font:600 14px system-ui,sans-serif;box-shadow:0 2px 8px rgb(0 0 0/.35)">'
    "Coding agents: start, stop, live charts</a>"
)


@dataclass(frozen=True, slots=True)
class Words:
    """What the page says as text: the table by level, the verdict so far, None before there is
    something to judge, how the endpoint does, and what turns failed of. curve: a point a level,
    JSON types, as `page.js` reads them."""

    rows: list[list[str]]
    verdict: Verdict | None
    endpoint: Endpoint | None = None
    failures: list[FailureWords] = field(default_factory=list)
    curve: list[dict[str, float | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How the endpoint does now, beside the verdict, which is on the generator. well: None before
    that can be told."""

    word: str
    note: str
    well: bool | None


@dataclass(frozen=True, slots=True)
class FailureWords:
    kind: str
    turns: int
    said: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """grade: VALID, SUSPECT or INVALID; note: on how much it rests; reasons: why it is not VALID;
    open: what was not checked, and why. Sentences."""

    grade: str
    note: str
    reasons: list[str]
    open: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One thing that a start may say. value: as it stands now; choices: all that is accepted, of
    some; main: shown at once, the others behind a click."""

    name: str
    label: str
    help: str
    value: str
    kind: str  # "text", "number" or "check"
    choices: tuple[str, ...] = ()
    main: bool = False
    empty: tuple[str, str] | None = None  # what an empty field means: without and with a TPM


@dataclass(frozen=True, slots=True)
class Report:
    """page: the file; hint: how to get the run's folder out of where it is, empty where it is in
    the open."""

    page: Path
    hint: str = ""

    def words(self) -> dict[str, str]:
        return {"folder": str(self.page.parent), "hint": self.hint}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A run on the page. heading: its facts, JSON types, as `page.js` reads them; with `run`, its
    name. rate_can_change: by `change_tpm`."""

    live: LiveRun[Any]
    heading: dict[str, Any]
    headings: Sequence[str]  # of the table's columns
    rate_can_change: bool
    now_s: Callable[[], float]
    load: Callable[[], Load | None]
    words: Callable[[float], Words]  # by the time
    users_can_change: bool = True  # by hand: not where a shape of load sets them
    level_lines: Callable[[float], Iterable[Sequence[object]]]  # of levels.csv, by the time


class WebTab:
    """Holds the run that the page shows: the one that is on, or the last one."""

    def __init__(
        self,
        environment: Environment,
        grafana_url: str | None,
        form: Callable[[], Sequence[Field]] = tuple,
    ) -> None:
        self._environment = environment
        self._form = form
        self._grafana_url = grafana_url
        self._shown: Shown | None = None
        self._sampler: gevent.Greenlet | None = None
        self._one_at_a_time = Semaphore()
        self._words = Words([], None)
        self._worded = -1  # phase of the run
        self._report: Report | None = None
        self._words_due_at = 0.0
        self.preparing = False  # a start was asked for; Locust says so when users come

    def begin(self, shown: Shown) -> None:
        self._shown, self._worded, self._report = shown, -1, None
        self._sampler = gevent.spawn(self._sample, shown)

    def end(self, report: Report | None = None) -> None:
        """The run is over; the page keeps it until the next one begins."""
        self._report = report
        if self._sampler is None or self._shown is None:
            return
        self._sampler.kill()
        self._sampler = None
        self._shown.live.end(self._shown.now_s())

    def state(self, run: str | None, since: int, seen_s: float) -> dict[str, Any]:
        """Of the run that is shown what is new to a page that knows `run` up to `since`."""
        runner, shown = self._environment.runner, self._shown
        locusts = runner.state if runner is not None else STATE_MISSING
        common = {
            "state": STATES.get(locusts, locusts),
            "on": locusts in ON,
            "preparing": self.preparing,
            "users": runner.user_count if runner is not None else None,
            "grafana_url": self._grafana_url,
            "form": [asdict(each) for each in self._form()] if locusts not in ON else None,
        }
        if self.preparing and locusts not in ON:
            common["state"] = PREPARING
        if shown is None:
            return common | {"run": None}
        if shown.live.ended_at_s is None and locusts not in ON:
            common["state"] = WRITING
        if run != shown.heading["run"]:
            since, seen_s = -1, -1.0
        now_s = shown.now_s()
        with self._one_at_a_time:
            # In a thread: while it sums up, turns go on and are stamped in time.
            threads = gevent.get_hub().threadpool
            live = threads.apply(shown.live.view, (now_s,), {"since": since, "seen_s": seen_s})
            words = threads.apply(self._fresh_words, (shown, now_s))
        return common | {
            "run": shown.heading,
            "columns": shown.headings,
            "rate_can_change": shown.rate_can_change,
            "users_can_change": shown.users_can_change,
            "report": None if self._report is None else self._report.words(),
            "most_dots": DOTS,
            "needed": {percent: samples_needed(percent / 100) for percent in (50, 90, 99)},
            "live": live,
            "rows": words.rows,
            "verdict": words.verdict,
            "endpoint": words.endpoint,
            "failures": words.failures,
            "curve": words.curve,
        }

    def rows(self) -> list[dict[str, str]]:
        """The table by level for Locust's own page."""
        state = self.state(None, -1, -1.0)
        if state["run"] is None:
            return []
        return [{str(number): cell for number, cell in enumerate(row)} for row in state["rows"]]

    def turns_csv(self) -> Iterator[str]:
        turns = list(self._shown.live.turns) if self._shown is not None else []
        yield _csv_lines([CSV_FIELDS])
        for start in range(0, len(turns), _CSV_CHUNK):
            yield _csv_lines(map(_turn_cells, turns[start : start + _CSV_CHUNK]))
            gevent.sleep(0)

    def levels_csv(self) -> str:
        shown = self._shown
        return "" if shown is None else _csv_lines(shown.level_lines(shown.now_s()))

    @property
    def report(self) -> Path | None:
        """Of the run that is shown, once it has ended."""
        return None if self._report is None else self._report.page

    @property
    def run(self) -> str | None:
        return None if self._shown is None else self._shown.heading["run"]

    def _fresh_words(self, shown: Shown, now_s: float) -> Words:
        """The words for now; a little old where making them takes long, but never across the end of
        a level or of the run."""
        phase, began = shown.live.phase, time.perf_counter()
        if phase != self._worded or began >= self._words_due_at:
            self._words, self._worded = shown.words(now_s), phase
            ended = time.perf_counter()
            self._words_due_at = ended + (ended - began) / _WORDS_SHARE
        return self._words

    def _sample(self, shown: Shown) -> None:
        while True:
            if (load := shown.load()) is not None:
                runner = self._environment.runner
                users = None if runner is None else runner.user_count
                shown.live.sample(shown.now_s(), load, users)
            gevent.sleep(SAMPLE_EVERY_S)


def install(
    environment: Environment,
    *,
    columns: Sequence[str],
    grafana_url: str | None,
    change_tpm: Callable[[str], str],
    form: Callable[[], Sequence[Field]] = tuple,
) -> WebTab | None:
    """Adds the page to the environment's web UI; None where there is none (headless, a worker).

    columns: of the table on Locust's page; change_tpm: begins a level at the rate that the text
    says and answers what it did, or raises ValueError or RuntimeError; form: what a start may say,
    with the values that stand now.
    """
    web_ui = environment.web_ui
    if web_ui is None or web_ui.app is None:
        return None
    tab = WebTab(environment, grafana_url, form)
    options = environment.parsed_options
    base = (options.web_base_path if options is not None else None) or ""
    web_ui.app.register_blueprint(
        _blueprint(tab, web_ui.auth_required_if_enabled, change_tpm), url_prefix=f"{base}/{KEY}"
    )
    _extend_stock_page(web_ui.app, web_ui.template_args, tab, columns)
    return tab


def _blueprint(
    tab: WebTab, login: Callable[..., Any], change_tpm: Callable[[str], str]
) -> Blueprint:
    pages = Blueprint("coding_agents", __name__)

    @pages.after_request
    def add_headers(response: Response) -> Response:
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @pages.route("/")
    @login
    def page() -> Response:
        return send_from_directory(ASSETS, "page.html")

    @pages.route(f"/<any({_ASSETS}):name>")
    @login
    def asset(name: str) -> Response:
        return send_from_directory(ASSETS, name)

    @pages.route("/data")
    @login
    def data() -> Response:
        asked = request.args
        return _json(
            tab.state(
                asked.get("run"),
                asked.get("since", -1, type=int),
                asked.get("seen", -1.0, type=float),
            )
        )

    @pages.route("/turns.csv")
    @login
    def turns() -> Response:
        return _download(tab.turns_csv(), tab.run, "turns")

    @pages.route("/report.html")
    @login
    def report() -> Response:
        if tab.report is None or not tab.report.is_file():
            return Response("no run has ended", 404, mimetype="text/plain")
        response = send_file(tab.report.resolve())
        response.headers["Content-Security-Policy"] = _REPORT_POLICY
        return response

    @pages.route("/levels.csv")
    @login
    def levels() -> Response:
        return _download(tab.levels_csv(), tab.run, "levels")

    @pages.route("/tpm", methods=["POST"])
    @login
    def tpm() -> Response:
        asked = request.get_json(silent=True)
        text = asked.get("tpm") if isinstance(asked, dict) else None
        if not isinstance(text, str):
            return _json({"error": 'accepted is {"tpm": "2.5M"}'}, 400)
        try:
            return _json({"message": change_tpm(text)})
        except (ValueError, RuntimeError) as error:
            return _json({"error": str(error)}, 400)

    return pages


def _extend_stock_page(
    app: Flask, template_args: dict[str, Any], tab: WebTab, columns: Sequence[str]
) -> None:
    """A tab with the table, links to the CSV files, and a link to our page."""
    structure = [{"key": str(n), "title": title} for n, title in enumerate(columns)]
    template_args.update(
        extended_tabs=[{"title": "Coding agents", "key": KEY}],
        extended_tables=[{"key": KEY, "structure": structure}],
        extended_csv_files=[
            {"href": f"./{KEY}/turns.csv", "title": "Download coding-agent turns CSV"},
            {"href": f"./{KEY}/levels.csv", "title": "Download traffic levels CSV"},
        ],
    )

    def extend(response: Response) -> Response:
        if response.status_code != 200:
            return response
        if request.endpoint == "locust.request_stats":
            stats = {"key": KEY, "data": tab.rows()}
            response.set_data(orjson.dumps(response.get_json() | {"extended_stats": [stats]}))
        elif request.endpoint == "locust.index":
            page = response.get_data(as_text=True)
            response.set_data(page.replace("</body>", f"{_LINK}</body>"))
        return response

    app.after_request(extend)


def _json(content: dict[str, Any], status: int = 200) -> Response:
    written = orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS)
    return Response(written, status, mimetype="application/json")


def _download(content: Iterable[str], run: str | None, name: str) -> Response:
    response = Response(content, mimetype="text/csv")
    response.headers["Content-Disposition"] = f'attachment; filename="{run or "no-run"}-{name}.csv"'
    return response


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(map(_plain, row) for row in rows)
    return text.getvalue()


def _plain(cell: object) -> object:
    """A spreadsheet would run a text that begins like a formula, such as a server's message."""
    if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{cell}"
    return cell


def _turn_cells(turn: TurnRecord) -> list[object]:
    return [getattr(turn, name) for name in CSV_FIELDS]

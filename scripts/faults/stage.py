"""Stage: one run with its fault, as processes: a counting server, a master, its workers, and a
relay between each worker and the master where links are cut."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from scripts.faults.count import Counted, Request, back_after_s, count, wrong
from scripts.faults.plan import AGENTS, CROWD_GAP_S, LASTING, LINKS, RAMP_S, Fault, expected
from scripts.faults.relay import Relay
from scripts.faults.server import SESSION_HEADER
from tests.support.stack import ROOT, Finished, Stack, Started, free_port, until
from tokenswarm.__main__ import main as tokenswarm
from tokenswarm.measure.ledger import Ledger, read, read_run
from tokenswarm.report.analysis.result import result

TPM, TPM_TEXT = 1e6, "1M"
START_S = 180.0  # guess: six seconds on two idle cores, a minute where twelve processes want them
BACK_S = 30.0  # by then a rate has to be back on its line
END_S = 90.0  # guess: what a run may take beyond its fault
SERVERS_FIRST = 8  # turns that have ended before a fault is due
DISK = {"master": "100k", "worker": "40k"}  # some 70 turns, and 25 of a worker
# A master silent for 4 s is noticed, and turns under way end: then nothing begins any more.
ORPHANS_S = 8.0
RUN = "run"
REST = re.compile(r"cat (\S+) >> (\S+)")
SIGNALS = {"SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """back_after_s: None where nothing is asked of the rate, or it did not come back. wrong: what
    is not as it has to be; reasons: what the run's verdict says of itself."""

    fault: Fault
    counted: Counted
    back_after_s: float | None
    grade: str
    code: int | None
    reasons: tuple[str, ...]
    wrong: tuple[str, ...]
    took_s: float


class Cluster:
    """The processes of one run."""

    def __init__(self, fault: Fault, folder: Path, stack: Stack) -> None:
        self.fault, self.folder, self._stack = fault, folder, stack
        self.log = folder / "requests.jsonl"
        self.server = stack.start("scripts.faults.server", str(self.log), env={})
        url = until(lambda: self.server.out.read_text().strip(), START_S)
        self._port = free_port()
        self._env = {"PYTHONPATH": str(ROOT)}
        self.relays: list[Relay] = []
        self.master = self._locust("master", *self._terms(url))
        self.workers = [self.join() for _ in range(fault.workers)]

    def join(self) -> Started:
        number = len(self.relays)
        apart = self.fault.apart or self._own_disk(number)
        self.relays.append(Relay(self._port))
        linked = self.fault.kind in LINKS
        port = self.relays[-1].port if linked else self._port
        where = f"worker-{number}" if apart else "master"
        return self._locust(where, "--worker", "--master-port", str(port))

    def take_in(self, joins: int) -> None:
        """Workers that come one after the other."""
        for number in range(joins):
            time.sleep(CROWD_GAP_S if number else 0.0)
            self.workers.append(self.join())

    def _own_disk(self, worker: int) -> bool:
        return self.fault.kind == "full disk of worker" and worker == self.fault.victim

    def _terms(self, url: str) -> tuple[str, ...]:
        own = (
            *("--headless", "--host", url, "--run-name", RUN, "--profile", "small"),
            *("--session-header", SESSION_HEADER, "--ramp", f"{RAMP_S:g}s"),
            *("--max-developers", "150", "--max-failures", "20%", "--seed", str(self.fault.seed)),
            *("--master", "--master-bind-port", str(self._port)),
            *("--expect-workers", str(self.fault.workers)),
        )
        if self.fault.file == AGENTS:
            return (*own, "--tpm", TPM_TEXT, "-r", "150", "-t", f"{self.fault.hold_s:g}s")
        return (*own, "--levels", TPM_TEXT, "--hold", f"{self.fault.hold_s:g}s", "--drain", "20s")

    def _locust(self, where: str, *options: str) -> Started:
        """In a folder of its own: --runs is relative, so each process keeps its ledger there."""
        cwd = self.folder / where
        cwd.mkdir(exist_ok=True)
        file = str(ROOT / "locustfiles" / self.fault.file)
        common = ("-f", file, "--runs", "runs", "--only-summary")
        return self._stack.start("locust", *common, *options, env=self._env, cwd=cwd)

    def finished(self) -> int:
        return self.log.read_bytes().count(b'"what":"sent"') if self.log.exists() else 0

    def run_folder(self) -> Path:
        return self.folder / "master" / "runs" / RUN

    def close(self) -> None:
        for relay in self.relays:
            relay.close()


def play(fault: Fault, folder: Path, cache: Path) -> Outcome:
    """Raises RuntimeError where a run does not begin."""
    began = time.monotonic()
    folder.mkdir(parents=True)
    stack = Stack(folder, cache)
    try:
        with _disk(fault, folder):
            return _played(Cluster(fault, folder, stack), began)
    finally:
        stack.close()


def _played(cluster: Cluster, began: float) -> Outcome:
    fault = cluster.fault
    try:
        if not until(lambda: cluster.finished() > SERVERS_FIRST, START_S):
            raise RuntimeError(f"seed {fault.seed}: no turn ended: {cluster.master.err}")
        time.sleep(fault.after_s)
        struck_wall, struck = time.time(), time.monotonic()
        orphans = _strike(cluster)
        finished, code = _end(cluster)
        if fault.kind == "kill master":
            code = _report(cluster.run_folder())
        return _judged(cluster, finished, code, (struck, struck_wall), began, orphans)
    finally:
        cluster.close()


def _strike(cluster: Cluster) -> list[str]:
    """Injects the fault, for as long as it lasts. Says what is wrong already."""
    fault, kind = cluster.fault, cluster.fault.kind
    victim, relay = cluster.workers[fault.victim], cluster.relays[fault.victim]
    if kind in ("kill worker", "replace worker"):
        _signal(victim, signal.SIGKILL)
        cluster.take_in(fault.joins)
    elif kind == "kill all workers":
        for worker in cluster.workers:
            _signal(worker, signal.SIGKILL)
    elif fault.joins:
        cluster.take_in(fault.joins)
    elif kind in LASTING and kind not in LINKS:
        paused = {"pause master": cluster.master, "pause server": cluster.server}
        process = paused.get(kind, victim)
        _signal(process, signal.SIGSTOP)
        time.sleep(fault.for_s or 0.0)
        _signal(process, signal.SIGCONT)
    elif kind in LINKS:
        relay.cut() if kind == "cut link" else relay.swallow()
        time.sleep(fault.for_s or 0.0)
        relay.mend()
    elif kind.startswith("SIG"):
        name, _, whom = kind.partition(" to ")
        os.kill((victim if whom == "worker" else cluster.master).process.pid, SIGNALS[name])
    elif kind == "kill server":
        _signal(cluster.server, signal.SIGKILL)
    elif kind == "kill master":
        _signal(cluster.master, signal.SIGKILL)
        return _orphans(cluster)
    return []


def _orphans(cluster: Cluster) -> list[str]:
    """Workers without a master send nothing after seconds; then they are ended, as by hand."""
    time.sleep(ORPHANS_S)
    before = cluster.log.read_bytes().count(b'"what":"began"')
    time.sleep(3)
    more = cluster.log.read_bytes().count(b'"what":"began"') - before
    for worker in cluster.workers:
        os.kill(worker.process.pid, signal.SIGTERM)
    return [f"{more} turns without a master"] if more else []


def _end(cluster: Cluster) -> tuple[Finished, int | None]:
    """What the master printed, and its code; None where it did not end."""
    for process in (cluster.master, *cluster.workers):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_S)
    code = cluster.master.process.poll()
    texts = (path.read_text(errors="replace") for path in (cluster.master.out, cluster.master.err))
    return Finished(-1 if code is None else code, *texts), code


def _report(folder: Path) -> int:
    """The exit code of `tokenswarm report`, without its text."""
    with contextlib.redirect_stdout(io.StringIO()):
        return tokenswarm(["report", str(folder)])


def _whole(cluster: Cluster) -> list[Path]:
    """The ledgers; those that their disk cut short as the run says that they can be completed."""
    said = "".join(started.out.read_text() for started in (cluster.master, *cluster.workers))
    rests = {name: Path(rest) for rest, name in REST.findall(said)}
    paths = []
    for path in sorted(cluster.folder.glob(f"*/runs/{RUN}/*.jsonl")):
        rest = rests.get(f"runs/{RUN}/{path.name}")
        if rest is not None:
            whole = cluster.folder / f"whole-{path.name}"
            whole.write_bytes(path.read_bytes() + rest.read_bytes())
            rest.unlink()
            path = whole
        paths.append(path)
    return paths


def _said_once(cluster: Cluster) -> bool:
    """Of the full disk: by the process whose it was, and by no process more than once."""
    fault = cluster.fault
    victim = cluster.workers[fault.victim] if "worker" in fault.kind else cluster.master
    said = {
        started.err: started.err.read_text().count("cannot be written")
        for started in (cluster.master, *cluster.workers)
    }
    return said[victim.err] == 1 and max(said.values()) == 1


def _judged(
    cluster: Cluster,
    finished: Finished,
    code: int | None,
    struck: tuple[float, float],
    began: float,
    said: list[str],
) -> Outcome:
    fault, hopes = cluster.fault, expected(cluster.fault)
    said = list(said)
    kills = fault.kind.startswith(("kill worker", "kill all", "replace"))
    paths = _whole(cluster)
    own, printed = read_run(cluster.run_folder()), finished.printed
    counted = count(
        requests(cluster.log),
        [read(path).records for path in paths],
        struck[0] if kills else None,
    )
    verdict = result(own).verdict
    said += wrong(fault, verdict, own, code, printed + _printed(cluster.workers))
    if fault.kind.startswith("full disk") and not _said_once(cluster):
        said.append("the full disk is not said once")
    if counted.lost:
        said.append(f"{counted.lost} turns lost")
    if counted.duplicated or counted.invented:
        said.append(f"{counted.duplicated} turns twice, {counted.invented} from nowhere")
    back = _back(own, paths, struck[1]) if hopes.back else None
    if hopes.back and back is None:
        said.append("the rate did not come back to the line")
    if back is not None and back > BACK_S:
        said.append(f"the rate was back after {back:.0f} s only")
    silent = _silently_missing(own, paths) if fault.apart else 0
    if silent and verdict.grade != "INVALID":
        said.append(f"{silent} turns of a worker never reached its master, and it says nothing")
    return Outcome(
        fault=fault,
        counted=counted,
        back_after_s=back,
        grade=verdict.grade,
        code=code,
        reasons=tuple(f"{check.grade} {check.name}" for check in verdict.reasons),
        wrong=tuple(said),
        took_s=time.monotonic() - began,
    )


def _printed(workers: list[Started]) -> str:
    return "".join(
        path.read_text(errors="replace") for worker in workers for path in (worker.out, worker.err)
    )


def _back(own: Ledger, paths: list[Path], struck_wall: float) -> float | None:
    """By the turns of all ledgers on the master's clock, to the end of the level."""
    struck_s = struck_wall - own.header.started_at
    ends = [level.ended_at_s for level in own.levels if level.ended_at_s is not None]
    records = {(r.session, r.turn): r for path in paths for r in read(path).records}
    records |= {(r.session, r.turn): r for r in own.records}
    return back_after_s(records.values(), TPM, struck_s, max(ends, default=struck_s))


def _silently_missing(own: Ledger, paths: list[Path]) -> int:
    known = {(r.session, r.turn) for r in own.records}
    return len({(r.session, r.turn) for path in paths for r in read(path).records} - known)


def requests(log: Path) -> list[Request]:
    """Those of sessions; preflight's belong to none."""
    seen: dict[int, dict[str, object]] = {}
    for line in log.read_bytes().splitlines():
        entry = orjson.loads(line)
        one = seen.setdefault(entry["number"], {"last_at": None, "sent_at": None})
        one[f"{entry['what']}_at"] = entry["at"]
        one.update({name: entry[name] for name in ("session", "digest") if name in entry})
    found = [Request(**one) for one in seen.values()]  # type: ignore[arg-type]
    # The header is the run's salt and the session's name, which begins with its worker.
    named = [(request, request.session.partition(".w")) for request in found]
    return [replace(request, session=f"w{name}") for request, (_, dot, name) in named if dot]


def _signal(started: Started, number: signal.Signals) -> None:
    os.killpg(started.process.pid, number)


@contextmanager
def _disk(fault: Fault, folder: Path) -> Iterator[None]:
    """A small file system under the victim's runs. Raises OSError where none may be mounted."""
    if not fault.kind.startswith("full disk"):
        yield
        return
    of = fault.kind.rpartition(" ")[2]
    whose = f"worker-{fault.victim}" if of == "worker" else of
    disk = folder / whose / "runs"
    disk.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK[of]}", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True).returncode:
        raise OSError("a full disk needs root, and a kernel that lets it mount a tmpfs")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)

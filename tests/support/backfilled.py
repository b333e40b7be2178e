"""A real Prometheus whose past is made up: pages of many moments, as it would have scraped them."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from exporters.prometheus.buckets import labels_text
from tests.support.prometheus_server import Prometheus
from tests.support.stack import START_TIMEOUT_S, free_port, listens, until

CUMULATIVE = ("_total", "_bucket", "_sum", "_count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scraped:
    """A page as Prometheus got it: from which job and instance, and when (unix time)."""

    job: str
    instance: str
    at: float
    samples: list[Sample]


def parsed(page: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(page) for sample in family.samples]


def growing(samples: list[Sample], share: float) -> list[Sample]:
    """A page when so much of what it counts had happened; gauges as they stand there."""
    return [
        sample._replace(value=sample.value * share) if sample.name.endswith(CUMULATIVE) else sample
        for sample in samples
    ]


@contextmanager
def backfilled(pages: list[Scraped], folder: Path, lookback_s: float) -> Iterator[Prometheus]:
    """While the block lasts. lookback_s: how long a sample counts, between one and two scrapes.
    Needs Debian's prometheus."""
    text = folder / "pages.om"
    with text.open("w") as file:
        for page in sorted(pages, key=lambda page: page.at):
            scraped = {"job": page.job, "instance": page.instance}
            for sample in page.samples:
                labels = labels_text({**sample.labels, **scraped})
                file.write(f"{sample.name}{{{labels}}} {sample.value!r} {page.at:.3f}\n")
        file.write("# EOF\n")
    data = folder / "data"
    made = subprocess.run(
        ("promtool", "tsdb", "create-blocks-from", "openmetrics", text, data),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert made.returncode == 0, made.stderr
    (folder / "prometheus.yml").write_text("global: {}\n")
    port = free_port()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            (
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=100y",
                # A series that a page has no more is stale at once when it is scraped; what is
                # filled in later has no such marks.
                f"--query.lookback-delta={lookback_s:g}s",
                f"--web.listen-address=127.0.0.1:{port}",
            ),
            stdout=log,
            stderr=log,
        )
    try:
        assert until(lambda: listens(port), START_TIMEOUT_S), (folder / "log").read_text()
        prometheus = Prometheus(f"http://127.0.0.1:{port}")
        assert until(lambda: _is_ready(prometheus), START_TIMEOUT_S)
        yield prometheus
    finally:
        process.kill()
        process.wait()


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        return prometheus.values("vector(1)") == [1.0]
    except (AssertionError, OSError):
        return False


def has_prometheus() -> bool:
    return shutil.which("prometheus") is not None and shutil.which("promtool") is not None

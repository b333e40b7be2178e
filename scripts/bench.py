"""`make bench`: every measured claim of the documentation, in one run.

Each row comes from one of the bench files beside this one; run those alone for one part.
"""

from __future__ import annotations

import bench_client
import bench_engine
import bench_exporter
import bench_receive
import bench_report
import bench_server
import bench_start
import bench_workload
from tabulate import tabulate


def main() -> None:
    rows = [
        (bench.__name__.removeprefix("bench_"), *row)
        for bench in (
            bench_workload,
            bench_client,
            bench_receive,
            bench_engine,
            bench_report,
            bench_exporter,
            bench_start,
            bench_server,
        )
        for row in bench.main()
    ]
    print()
    print(tabulate(rows, ("part", "what", "value", "unit"), floatfmt=".3g"))


if __name__ == "__main__":
    main()

"""Write: a ledger's lines, one by one, each on disk before the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from tokenswarm.measure.ending import Ending
from tokenswarm.measure.health import Health
from tokenswarm.measure.ledger.format import FORMAT, Header
from tokenswarm.measure.record import Level, TurnRecord
from workload.figures import Workload

GAP_DECIMALS = 4  # 0.1 ms
TURN_FIELDS = tuple(field.name for field in fields(TurnRecord))


class LedgerWriter:
    """Appends to a new file. A line that does not fit, as on a full disk, is kept in memory and
    tried again with the next one, so the order stays."""

    def __init__(
        self, path: Path, header: Header, on_trouble: Callable[[OSError], None] | None = None
    ) -> None:
        """on_trouble: told once, when a line could not be written; None: it is raised. Raises
        FileExistsError: a ledger is never overwritten; OSError where not even the header fits."""
        self.path = path
        self.unsaved = b""  # what is not on disk yet
        self._on_trouble: Callable[[OSError], None] | None = None
        self._file = path.open("xb", buffering=0)
        self._append({"header": {"format": FORMAT, **asdict(header)}})
        self._on_trouble, self._in_trouble = on_trouble, False

    def __enter__(self) -> LedgerWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def write(self, record: TurnRecord) -> None:
        turn = {name: getattr(record, name) for name in TURN_FIELDS}
        turn["chunk_gaps_s"] = [round(gap_s, GAP_DECIMALS) for gap_s in record.chunk_gaps_s]
        # A server's text may hold half a surrogate pair, which is not JSON.
        turn["detail"] = record.detail.encode("utf-8", "replace").decode()
        self._append({"turn": turn})

    def write_level(self, level: Level) -> None:
        self._append({"level": asdict(level)})

    def write_health(self, health: Health) -> None:
        self._append({"health": asdict(health)})

    def write_workload(self, workload: Workload) -> None:
        self._append({"workload": asdict(workload)})

    def write_ending(self, ending: Ending) -> None:
        self._append({"end": asdict(ending)})

    def close(self) -> None:
        self._save()
        self._file.close()

    def _append(self, line: dict[str, Any]) -> None:
        self.unsaved += orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        self._save()

    def _save(self) -> None:
        try:
            while self.unsaved:  # the last bytes of a disk take a part of a line
                self.unsaved = self.unsaved[self._file.write(self.unsaved) :]
        except OSError as error:
            if self._on_trouble is None:
                raise
            if not self._in_trouble:
                self._in_trouble = True
                self._on_trouble(error)

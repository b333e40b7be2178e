"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file beside the path, which takes its place when it is closed without an exception.

    An earlier file stays until then. Raises OSError that names the path, not the file beside it.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with draft.open("wb") as file:
            yield file
        draft.replace(path)
    except OSError as error:
        if error.filename is None or Path(os.fsdecode(error.filename)) != draft:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        draft.unlink(missing_ok=True)


def replace_file(path: Path, content: bytes) -> None:
    """Writes the content in the path's place, whole or not at all. Raises OSError as above."""
    with replacing(path) as file:
        file.write(content)

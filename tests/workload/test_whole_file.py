"""A file is there whole or not at all, and an error names what the caller asked for."""

import pytest

from workload.whole_file import replace_file, replacing


def test_the_content_takes_the_place_of_an_earlier_file(tmp_path):
    path = tmp_path / "page"
    path.write_bytes(b"old")
    replace_file(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_exception_leaves_the_earlier_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "page"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"half")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_path_and_not_the_file_beside_it(tmp_path):
    missing = tmp_path / "missing" / "page"
    with pytest.raises(FileNotFoundError) as caught:
        replace_file(missing, b"")
    assert caught.value.filename == str(missing)
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError) as caught_too:
        replace_file(tmp_path / "taken", b"")
    assert caught_too.value.filename == str(tmp_path / "taken")

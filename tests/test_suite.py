"""`make test`'s own runner: any failure fails it, what found nothing too."""

import pytest

from scripts.suite import main

PASSES = "def test_it():\n    pass\n"
FAILS = "def test_it():\n    assert 1 == 2\n"
SKIPS = "import pytest\n\ndef test_it():\n    pytest.skip('no chromium')\n"


@pytest.fixture
def ran(tmp_path, capsys):
    """Exit code, and what was printed, of a folder of these files."""

    def run(files, alone=()):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return main(tmp_path, alone), capsys.readouterr().out

    return run


def test_all_pass_and_a_skip_says_why(ran):
    code, printed = ran({"room/test_a.py": PASSES, "e2e/test_b.py": SKIPS})
    assert code == 0
    assert "1 passed, 1 skipped, " in printed and "no chromium" in printed
    assert "FAILED" not in printed


def test_one_failure_of_many_fails(ran):
    code, printed = ran({"room/test_a.py": PASSES, "e2e/test_b.py": FAILS, "test_c.py": PASSES})
    assert code == 1
    assert "assert 1 == 2" in printed and "1 failed, 2 passed, " in printed
    assert "\nFAILED e2e/test_b.py: exit code 1" in printed


def test_a_file_without_a_test_fails(ran):
    code, printed = ran({"room/test_a.py": PASSES, "e2e/test_b.py": ""})
    assert code == 1 and "\nFAILED e2e/test_b.py: exit code 5" in printed


def test_what_runs_alone_runs_last_and_once(ran):
    code, printed = ran({"a/test_a.py": PASSES, "a/test_b.py": PASSES}, alone=("a/test_a.py",))
    assert code == 0 and "\n2 passed, " in printed
    assert printed.index("== a: ") < printed.index("== a/test_a.py: ")

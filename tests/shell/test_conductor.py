"""The conductor, led through a run by hand: an environment and a runner that only remember."""

from __future__ import annotations

from locust.env import Environment

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import gevent
import pytest
from gevent.event import Event as GeventEvent

from tests.support.option_parser import OptionParser
from tests.support.records import turn_record
from tokenswarm.exit_codes import BAD_INPUT, INTERRUPTED, INVALID_RUN
from tokenswarm.measure.ledger import Target, read_run
from tokenswarm.shell import admission, results, signals
from tokenswarm.shell.leading import LeadingConductor
from tokenswarm.shell.options import OptionError, add_arguments
from tokenswarm.shell.preflight import Examined

HOST = "http://127.0.0.1:9"
SOURCE = 'def greet(name):\n    """Says hello."""\n    return f"hello {name}"\n'


class Developer:
    is_developer = True


class Other:
    pass


class Event:
    def __init__(self) -> None:
        self.listeners: list[Callable[..., None]] = []

    def add_listener(self, listener: Callable[..., None]) -> None:
        self.listeners.append(listener)

    def fire(self, **values: Any) -> None:
        for listener in self.listeners:
            listener(**values)


class Users:
    def __init__(self) -> None:
        self.killed = False

    def kill(self, block: bool) -> None:
        self.killed = not block


class Runner:
    def __init__(self) -> None:
        self.stops = 0
        self.user_greenlets = Users()
        self.target_user_count = 3
        self.target_user_classes_count = {"Developer": 2, "Other": 1}
        self.state = "ready"
        self.user_count = 3

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Headless, with a small corpus; the endpoint was looked at by somebody else."""
    target = Target(url=HOST, model="m", simulated=False)
    monkeypatch.setattr(admission, "examine", lambda *_: Examined(target, 1.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources" / "greet.py").write_text(SOURCE * 1000)
    parser = OptionParser()
    parser.add_argument("--headless", action="store_true")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--profile")
    parser.add_argument("--users", type=int, dest="num_users")
    parser.add_argument("--spawn-rate", type=float)
    parser.add_argument("--run-time")
    add_arguments(parser)
    words = ["--headless", "--profile", "small", "--run-name", "one"]
    folders = ["--runs", str(tmp_path / "runs"), "--corpus", str(tmp_path / "sources")]
    return SimpleNamespace(
        events=SimpleNamespace(request=Event()),
        parsed_options=parser.parse_args([*words, *folders], env_vars={}),
        user_classes=[Developer, Other],
        shape_class=None,
        runner=Runner(),
        web_ui=None,
        host=HOST,
        stop_timeout=120,
        process_exit_code=None,
    )


def conducted(environment: SimpleNamespace) -> LeadingConductor:
    conductor = LeadingConductor(cast(Environment, environment), environment.runner)
    conductor.prepare()
    return conductor


def test_a_run_from_its_start_to_its_exit_code(environment, capsys):
    conductor = conducted(environment)
    with pytest.raises(RuntimeError, match="no run is on"):
        conductor.current_run()
    conductor.start()
    run = conductor.current_run()
    assert run.terms.name == "one" and run.terms.target.model == "m"
    conductor.begin_level(user_count=3)
    level = conductor.current_levels().current
    assert level is not None and level.developers == 2  # the other user is none
    record = turn_record(session="w0.u0.s0", level=0, outcome="ok")
    environment.events.request.fire(context={"turn": record})
    environment.events.request.fire(context={})  # of another user
    conductor.rest()
    assert run.stopping
    conductor.stop()
    assert conductor.run is None
    ledger = read_run(run.folder)
    assert [r.session for r in ledger.records] == ["w0.u0.s0"]
    assert ledger.ending is not None and ledger.ending.workers is None
    assert ledger.levels[0].ended_at_s is not None
    assert (run.folder / "report.html").exists() and (run.folder / "summary.json").exists()
    assert "w0" not in capsys.readouterr().err


def test_a_run_without_a_turn_is_invalid(environment):
    conductor = conducted(environment)
    conductor.start()
    conductor.begin_level(user_count=3)
    conductor.rest()
    conductor.stop()
    assert environment.process_exit_code == INVALID_RUN


def test_a_run_whose_results_cannot_be_made_is_no_pass(environment, monkeypatch, capsys):
    monkeypatch.setattr(results, "show", lambda run: 1 / 0)
    conductor = conducted(environment)
    conductor.start()
    conductor.stop()
    assert environment.process_exit_code == INVALID_RUN
    assert "ZeroDivisionError" in capsys.readouterr().err  # gevent's


def test_its_end_comes_once(environment):
    conductor = conducted(environment)
    conductor.start()
    conductor.quit()  # Ctrl-C: Locust stops the runner, which fires test_stop, then quits
    assert environment.runner.stops == 1
    before = environment.process_exit_code
    environment.process_exit_code = None
    conductor.stop()
    conductor.quit()
    assert (before, environment.process_exit_code) == (INVALID_RUN, None)


def test_results_outlive_the_greenlet_that_asked_for_them(environment, monkeypatch):
    """Locust kills the one in which a master notices that its last worker is gone."""
    begun, go_on = GeventEvent(), GeventEvent()
    show = results.show

    def slowly(run):
        begun.set()
        go_on.wait()
        return show(run)

    monkeypatch.setattr(results, "show", slowly)
    conductor = conducted(environment)
    conductor.start()
    folder = conductor.current_run().folder
    asker = gevent.spawn(conductor.stop)
    begun.wait()
    asker.kill()
    gevent.spawn_later(0.05, go_on.set)
    conductor.quit()
    assert (folder / "report.html").exists()
    assert environment.process_exit_code == INVALID_RUN


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What is raised in the main greenlet."""
    raised: list[BaseException] = []
    monkeypatch.setattr(signals, "raise_in_main", raised.append)
    return raised


def test_the_first_interrupt_ends_a_run_and_the_second_cuts_its_turns_off(environment, raised):
    conductor = conducted(environment)
    conductor.start()
    conductor.interrupt(1)
    assert [KeyboardInterrupt] == list(map(type, raised))
    assert not environment.runner.user_greenlets.killed
    conductor.interrupt(2)
    assert environment.runner.user_greenlets.killed and len(raised) == 1
    conductor.quit()


def test_an_interrupt_before_a_headless_run_leaves_at_once(environment, raised, capsys):
    conductor = conducted(environment)
    conductor.interrupt(1)
    assert [error.code for error in raised] == [INTERRUPTED]
    assert "interrupted before the run began" in capsys.readouterr().err


def test_what_cannot_be_is_refused_before_a_start(environment, capsys):
    environment.parsed_options.hold = "soon"
    with pytest.raises(SystemExit) as left:
        conducted(environment)
    assert left.value.code == BAD_INPUT
    assert "--hold 'soon'" in capsys.readouterr().err


def test_two_hosts_are_refused(environment, capsys):
    environment.host = None
    here, there = type("A", (Developer,), {"host": HOST}), type("B", (Developer,), {"host": "x"})
    environment.user_classes = [here, there]
    with pytest.raises(SystemExit):
        conducted(environment)
    assert f"host of the user classes: {HOST}, x" in capsys.readouterr().err


def test_a_rate_is_changed_only_in_a_run_that_has_one(environment):
    conductor = conducted(environment)
    with pytest.raises(OptionError, match="no run is on"):
        conductor._change_tpm("2M")
    conductor.start()
    with pytest.raises(OptionError, match="accepted in a run with a target TPM"):
        conductor._change_tpm("2M")
    conductor.quit()


def test_a_target_line_begins_its_level_once(environment):
    environment.parsed_options.tpm = "1M"
    conductor = conducted(environment)
    conductor.start()
    conductor.begin_level(user_count=3)
    assert conductor._change_tpm("2M").startswith("Level 1: 2,000,000 tokens per minute")
    conductor.begin_level(user_count=3)  # users came or went: the page's rate stands
    assert conductor.current_run().target_tpm == 2e6
    conductor.quit()


def test_a_rate_without_users_has_as_many_places_as_a_ladder(environment, caplog):
    environment.parsed_options.tpm = "1M"
    conducted(environment)
    asked = environment.parsed_options
    assert (asked.num_users, asked.spawn_rate) == (300, admission.PLACES_PER_S)
    assert "or more can send that" not in caplog.text


def test_a_rate_that_the_users_cannot_carry_is_said_before_traffic(environment, caplog):
    environment.parsed_options.tpm = "1M"
    environment.parsed_options.num_users = 3
    conducted(environment)
    assert "--users 3: a developer of small sends about" in caplog.text
    assert "of the 1.00M asked for" in caplog.text and "or more can send that" in caplog.text


def edited(environment: SimpleNamespace, **values: Any) -> argparse.Namespace:
    """What Locust's Edit sends while a run is on."""
    return argparse.Namespace(**vars(environment.parsed_options) | values)


def test_an_edit_of_the_rate_is_obeyed_while_a_run_is_on(environment):
    environment.parsed_options.tpm = "1M"
    conductor = conducted(environment)
    conductor.start()
    conductor.begin_level(user_count=3)
    conductor._refuse_form(edited(environment, tpm="2M"), HOST)
    assert conductor.current_run().target_tpm == 2e6
    conductor._refuse_form(edited(environment), HOST)  # users alone: the rate stands
    assert conductor.current_run().target_tpm == 2e6
    conductor.quit()


def test_an_edit_of_what_stands_while_a_run_is_on_is_refused(environment):
    conductor = conducted(environment)
    conductor.start()
    with pytest.raises(OptionError, match="--seed 7: a run is on; accepted.*: users and TPM"):
        conductor._refuse_form(edited(environment, seed=7), HOST)
    with pytest.raises(OptionError, match="accepted in a run with a target TPM"):
        conductor._refuse_form(edited(environment, tpm="2M"), HOST)
    conductor.quit()

"""Locust's events to the conductor of the environment that they are about.

Imported by every locustfile; its listeners are registered once per process.
"""

from __future__ import annotations

from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from typing import Any
from weakref import WeakKeyDictionary

from gevent.event import Event

from tokenswarm.shell import locust_defaults, master_port, signals
from tokenswarm.shell.conductor import Conductor
from tokenswarm.shell.following import FollowingConductor
from tokenswarm.shell.leading import LeadingConductor
from tokenswarm.shell.options import add_arguments

master_port.install()
locust_defaults.install()

_INIT = Event()  # Locust's init event has come
_INIT_S = 60.0  # guess: it comes within a second
_CONDUCTORS: WeakKeyDictionary[Environment, Conductor] = WeakKeyDictionary()


def conductor(environment: Environment) -> Conductor:
    """Raises KeyError where Locust's init event has not come for it."""
    return _CONDUCTORS[environment]


@events.init_command_line_parser.add_listener
def _add_arguments(parser: Any, **_kw: Any) -> None:
    add_arguments(parser)


@events.init.add_listener
def _conduct(environment: Environment, runner: Any, **_kw: Any) -> None:
    kind = FollowingConductor if isinstance(runner, WorkerRunner) else LeadingConductor
    _CONDUCTORS[environment] = conductor = kind(environment, runner)
    signals.install(conductor.interrupt)

    # The one event that does not say which environment it is about.
    @environment.events.spawning_complete.add_listener
    def begin_level(user_count: int, **_kw: Any) -> None:
        conductor.begin_level(user_count)

    conductor.prepare()
    _INIT.set()


@events.test_start.add_listener
def _start(environment: Environment, **_kw: Any) -> None:
    # A worker that joins a running test is told to start before Locust's init event has come.
    _INIT.wait(_INIT_S)
    conductor(environment).start()


@events.test_stopping.add_listener
def _rest(environment: Environment, **_kw: Any) -> None:
    conductor(environment).rest()


@events.test_stop.add_listener
def _stop(environment: Environment, **_kw: Any) -> None:
    conductor(environment).stop()


@events.quitting.add_listener
def _quit(environment: Environment, **_kw: Any) -> None:
    conductor(environment).quit()

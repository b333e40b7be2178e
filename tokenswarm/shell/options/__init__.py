"""Options of the command line, the environment and the web form, turned once into a value."""

from tokenswarm.measure.amounts import OptionError
from tokenswarm.shell.options.arguments import (
    ALL,
    DEFAULT_PROFILE,
    GROUPS,
    PROFILE_VARIABLE,
    Group,
    add_arguments,
    defaults,
    described,
    readers_of_options,
)
from tokenswarm.shell.options.container import COMPOSE_SERVICE_VARIABLE
from tokenswarm.shell.options.key import API_KEY_VARIABLES, api_key
from tokenswarm.shell.options.read import read_grafana_url, read_metrics_options, read_options
from tokenswarm.shell.options.values import GateOptions, MetricsOptions, Options, SearchOptions

__all__ = [
    "ALL",
    "API_KEY_VARIABLES",
    "COMPOSE_SERVICE_VARIABLE",
    "DEFAULT_PROFILE",
    "GROUPS",
    "GateOptions",
    "Group",
    "MetricsOptions",
    "OptionError",
    "Options",
    "PROFILE_VARIABLE",
    "SearchOptions",
    "add_arguments",
    "api_key",
    "defaults",
    "described",
    "read_grafana_url",
    "read_metrics_options",
    "read_options",
    "readers_of_options",
]

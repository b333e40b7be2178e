"""The example workflow is YAML whose commands our own parsers take."""

import re
import shlex
from pathlib import Path

import yaml

from tests.support.option_parser import OptionParser
from tokenswarm.shell.options import add_arguments, read_options

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "gate.yml"


def test_the_example_gate_runs_with_options_that_exist():
    steps = yaml.safe_load(EXAMPLE.read_text())["jobs"]["gate"]["steps"]
    script = next(step["run"] for step in steps if step.get("name") == "Load")
    limits = re.search(r"limits=\((--.*)\)", script)[1]
    command = script.split(".venv/bin/locust", 1)[1].replace("\\\n", " ")
    words = [*shlex.split(command), *shlex.split(limits)]
    words = [word for word in words if word != "${limits[@]}"]
    parser = OptionParser()
    add_arguments(parser)
    parsed, unknown = parser.parse_known_args(words, env_vars={})
    assert unknown == ["-f", "locustfiles/tpm_ladder.py", "--headless", "--host",
                       "https://llm.example.com/v1"]  # fmt: skip
    gate = read_options(parsed, "https://llm.example.com/v1").gate
    assert [slo.text for slo in gate.slos] == ["ttft_p50<1s", "tps_p50>40", "failures<0.5%"]
    assert [limit.text for limit in gate.limits] == ["ttft_p50=10%", "tps_p50=10%"]
    assert (gate.baseline, gate.junit) == (Path("runs/main"), Path("junit.xml"))

"""docker-compose.yml, Dockerfile and .env.example against the files and programs they name.

No container engine runs here: the real Docker Compose reads the file, everything else is looked up.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployed_commands import locust_variables, parsed_locust
from tokenswarm.commands.live import CONFIGURATION
from tokenswarm.shell.master_port import SECRET_VARIABLE
from tokenswarm.shell.options import API_KEY_VARIABLES, COMPOSE_SERVICE_VARIABLE

ROOT = Path(__file__).parents[2]
COMPOSE = Path(sys.executable).with_name("docker-compose")
DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = ROOT / ".env.example"
OWN = ("master", "worker", "engine")
WORKDIR = "/opt/tokenswarm"


def composed(*options: str) -> dict[str, Any]:
    """The file as Docker Compose resolves it, with an empty environment."""
    given = ("--env-file", "/dev/null") if "--env-file" not in options else ()
    shown = subprocess.run(
        (COMPOSE, *given, *options, "config", "--format", "json"),
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    # The program of the wheel ends with 0 whatever it finds: what it says counts.
    assert shown.stdout and not shown.stderr, shown.stderr
    resolved: dict[str, Any] = json.loads(shown.stdout)
    return resolved


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = composed()["services"]
    return found


def test_docker_compose_accepts_the_file_with_and_without_an_env_file(services):
    assert services.keys() == {*OWN, "prometheus", "pushgateway", "grafana"}
    assert composed("--env-file", str(EXAMPLE))["services"] == services


def test_a_wrong_key_would_be_refused(tmp_path):
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text((ROOT / "docker-compose.yml").read_text().replace("ports:", "prots:"))
    checked = subprocess.run(
        (COMPOSE, "-f", wrong, "config", "-q"), capture_output=True, text=True, timeout=60
    )
    assert "'prots' not allowed" in checked.stderr


def test_the_example_sets_every_variable_that_the_file_reads():
    text = (ROOT / "docker-compose.yml").read_text()
    read = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert len(re.findall(r"\$\{", text)) == len(re.findall(r"\$\{\w+:-", text))
    shown = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE))
    assert shown == read
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_variables_of_our_services_are_read_by_locust_or_tokenswarm(services):
    for name in OWN:
        for variable in services[name].get("environment") or {}:
            ours = {SECRET_VARIABLE, COMPOSE_SERVICE_VARIABLE}
            known = {*locust_variables(), *API_KEY_VARIABLES, *ours}
            assert variable in known, variable


def test_only_master_and_workers_get_the_key_and_only_by_environment(services):
    secret = {"TOKENSWARM_API_KEY": "sk-never-seen"}
    env = {"PATH": os.environ["PATH"], **secret}
    shown = subprocess.run(
        (COMPOSE, "--env-file", "/dev/null", "config", "--format", "json"),
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
    )
    found = json.loads(shown.stdout)["services"]
    holders = {name for name, service in found.items() if "sk-never-seen" in json.dumps(service)}
    assert holders == {"master", "worker"}
    for name in holders:
        assert found[name].pop("environment")["TOKENSWARM_API_KEY"] == "sk-never-seen"
        assert "sk-never-seen" not in json.dumps(found[name])


@pytest.mark.parametrize("name", ["master", "worker"])
def test_turns_may_end_and_results_be_written_before_the_kill(services, name):
    stop_timeout_s = float(parsed_locust(services[name]["command"]).stop_timeout)
    minutes, seconds = re.fullmatch(r"(\d+)m(\d+)s", services[name]["stop_grace_period"]).groups()
    assert 60 * int(minutes) + int(seconds) >= stop_timeout_s + 30
    assert services[name]["init"] is True


@pytest.mark.parametrize("name", ["master", "worker"])
def test_locusts_parser_accepts_the_commands(services, name):
    options = parsed_locust(services[name]["command"])
    assert getattr(options, name) is True
    assert options.metrics_host == "0.0.0.0"
    if name == "worker":
        assert options.master_host == "master"
    else:
        assert options.web_host == "0.0.0.0"  # of the container; published on loopback only


@pytest.mark.skipif(shutil.which("prometheus") is None, reason="no prometheus installed")
def test_prometheus_has_the_flags_of_its_command(services):
    shown = subprocess.run(("prometheus", "--help"), capture_output=True, text=True)
    known = re.findall(r"--[a-z.-]+", shown.stdout + shown.stderr)
    for word in services["prometheus"]["command"]:
        assert word.split("=")[0] in known, word


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Bind mounts: path in the container to path in the repository."""
    return {
        volume["target"]: volume["source"]
        for volume in service.get("volumes", ())
        if volume["type"] == "bind"
    }


def in_repository(service: dict[str, Any], path: str) -> Path:
    for target, source in mounts(service).items():
        if Path(path).is_relative_to(target):
            return Path(source) / Path(path).relative_to(target)
    raise AssertionError(f"nothing is mounted at {path}")


def test_mounted_paths_exist_and_are_read_only(services):
    for service in services.values():
        for volume in service.get("volumes", ()):
            if volume["type"] == "bind":
                assert Path(volume["source"]).is_dir(), volume
                assert volume["read_only"], volume


def test_prometheus_finds_its_configuration(services):
    service = services["prometheus"]
    (path,) = (w.split("=")[1] for w in service["command"] if w.startswith("--config.file"))
    assert in_repository(service, path) == CONFIGURATION / "prometheus.yml"


def test_grafana_finds_data_source_dashboards_and_home(services):
    service = services["grafana"]
    provisioning = in_repository(service, "/etc/grafana/provisioning")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tokenswarm.yaml").read_text())[
        "providers"
    ]
    folder = in_repository(service, provider["options"]["path"])
    assert len(list(folder.glob("*.json"))) == 3
    home = service["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert in_repository(service, home).is_file()
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"


def test_prometheus_scrapes_services_on_the_ports_that_they_listen_on(services):
    folder = CONFIGURATION
    jobs = yaml.safe_load((folder / "prometheus.yml").read_text())["scrape_configs"]
    (found,) = (job for job in jobs if job["job_name"] == "tokenswarm")
    host, port = re.match(r"http://(\w+):(\d+)/", found["http_sd_configs"][0]["url"]).groups()
    master = parsed_locust(services["master"]["command"])
    assert (host, port) == ("master", master.metrics_port)
    (engine,) = yaml.safe_load((folder / "engines.yml").read_text())
    command = services["engine"]["command"]
    assert engine["targets"] == ["engine:" + command[command.index("--port") + 1]]
    (gateway,) = (job for job in jobs if job["job_name"] == "pushgateway")
    assert gateway["static_configs"] == [{"targets": ["pushgateway:9091"]}]
    assert gateway["honor_labels"] is True


def test_published_ports_are_those_of_the_commands_and_on_loopback_only(services):
    master = parsed_locust(services["master"]["command"])
    listens = {
        "master": {master.web_port, master.master_bind_port},
        "prometheus": {9090},
        "pushgateway": {9091},
        "grafana": {3000},
    }
    published = {
        name: {port["target"] for port in service["ports"]}
        for name, service in services.items()
        if service.get("ports")
    }
    assert published == listens
    for service in services.values():
        for port in service.get("ports", ()):
            assert port["host_ip"] == "127.0.0.1", port


def test_images_are_pinned_and_ours_is_the_dockerfiles(services):
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        if name in OWN:
            assert Path(service["build"]["context"]) == ROOT
        else:
            assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag), service["image"]
    assert re.search(r"^FROM python:\d+\.\d+\.\d+-slim-\w+$", DOCKERFILE, re.MULTILINE)


def test_every_service_is_checked_for_health(services):
    assert all(service["healthcheck"]["test"][0] == "CMD" for service in services.values())


def test_the_image_holds_every_package_and_runs_as_a_user():
    copied = {
        source
        for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)
        for source in line.split()
    }
    assert all((ROOT / source).exists() for source in copied)
    included = re.search(r"^include = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert included
    assert {name.rstrip("*") for name in yaml.safe_load(included[1])} <= copied
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["tokenswarm"] and "useradd --uid 10001" in DOCKERFILE


def test_docker_gets_what_it_copies_and_nothing_else():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    admitted = {rule[1:].rstrip("/") for rule in rules if rule.startswith("!")}
    copied = set(" ".join(re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.MULTILINE)).split())
    assert admitted == copied


def test_the_corpus_command_of_the_image_counts_the_default_corpus(tmp_path):
    (command,) = re.findall(r'python (-c ".*?") ', DOCKERFILE)
    env = os.environ | {"TOKENSWARM_CACHE": str(tmp_path)}
    counted = subprocess.run(
        (sys.executable, *shlex.split(command)), cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert counted.returncode == 0, counted.stderr
    assert list(tmp_path.glob("corpus-*.npz"))


def test_runs_and_cache_lie_where_the_image_keeps_them(services):
    assert f"WORKDIR {WORKDIR}" in DOCKERFILE
    assert f"TOKENSWARM_CACHE={WORKDIR}/cache" in DOCKERFILE
    for name in ("master", "worker"):
        runs = parsed_locust(services[name]["command"]).runs
        (volume,) = services[name]["volumes"]
        assert volume["target"] == f"{WORKDIR}/{runs}"

"""deploy/kubernetes: plain manifests that fit each other, the image and the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.deployed_commands import locust_variables, parsed_locust
from tokenswarm.shell.master_port import SECRET_VARIABLE
from tokenswarm.shell.options import API_KEY_VARIABLES

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for path in sorted(FOLDER.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
# Optional: a server may ask for none.
KEY = {"name": "endpoint-key", "key": "api-key", "optional": True}
SECRET = {"name": "cluster-secret", "key": "secret"}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    return {m["metadata"]["name"]: m for m in MANIFESTS if m["kind"] == kind}


def container(name: str) -> dict[str, Any]:
    (found,) = of_kind("Deployment")[name]["spec"]["template"]["spec"]["containers"]
    loaded: dict[str, Any] = found
    return loaded


def test_every_manifest_has_kind_version_name_and_namespace():
    assert {m["kind"] for m in MANIFESTS} == {
        *("Namespace", "ConfigMap", "Deployment", "Service", "PersistentVolumeClaim")
    }
    for manifest in MANIFESTS:
        assert manifest["apiVersion"] == ("apps/v1" if manifest["kind"] == "Deployment" else "v1")
        if manifest["kind"] != "Namespace":
            assert manifest["metadata"]["namespace"] == "tokenswarm"


@pytest.mark.parametrize("name", ["master", "worker"])
def test_commands_are_those_of_docker_compose_and_accepted(name):
    assert container(name)["args"] == COMPOSE[name]["command"]
    parsed_locust(container(name)["args"])


@pytest.mark.parametrize("name", ["master", "worker", "prometheus"])
def test_selectors_ports_and_probes_fit(name):
    deployment = of_kind("Deployment")[name]["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"].items() <= labels.items()
    ports = {port["name"]: port["containerPort"] for port in container(name)["ports"]}
    assert container(name)["readinessProbe"]["httpGet"]["port"] in ports
    service = of_kind("Service").get(name)
    if service is not None:
        assert service["spec"]["selector"].items() <= labels.items()
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]


def test_ports_are_those_of_the_command_lines():
    master = parsed_locust(container("master")["args"])
    ports = {port["name"]: port["containerPort"] for port in container("master")["ports"]}
    assert ports == {
        "web": master.web_port,
        "workers": master.master_bind_port,
        "metrics": int(master.metrics_port),
    }
    worker = parsed_locust(container("worker")["args"])
    assert [p["containerPort"] for p in container("worker")["ports"]] == [int(worker.metrics_port)]
    assert worker.master_host in of_kind("Service")


@pytest.mark.parametrize("name", ["master", "worker"])
def test_variables_are_read_and_their_sources_exist(name):
    known = {*locust_variables(), *API_KEY_VARIABLES, SECRET_VARIABLE}
    for variable in container(name)["env"]:
        assert variable["name"] in known
        if "valueFrom" in variable:
            ((kind, reference),) = variable["valueFrom"].items()
            if kind == "configMapKeyRef":
                assert reference["key"] in of_kind("ConfigMap")[reference["name"]]["data"]
            else:
                assert kind == "secretKeyRef" and reference in (KEY, SECRET)


def test_the_key_comes_from_a_secret_that_applying_the_folder_again_does_not_empty():
    assert of_kind("Secret") == {}
    for of in (KEY, SECRET):
        command = f"create secret generic {of['name']} --from-literal={of['key']}="
        assert command in (FOLDER / "settings.yaml").read_text()
    for name in ("master", "worker"):
        (key,) = (v for v in container(name)["env"] if v["name"] == "TOKENSWARM_API_KEY")
        assert key["valueFrom"] == {"secretKeyRef": KEY}


@pytest.mark.parametrize("name", ["master", "worker", "prometheus"])
def test_pods_run_as_a_user_and_images_are_pinned(name):
    pod = of_kind("Deployment")[name]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = container(name)["securityContext"]
    assert own == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert re.search(r":v?\d+\.\d+\.\d+$", container(name)["image"])
    if name != "prometheus":
        assert pod["securityContext"]["runAsUser"] == 10001
        assert "--uid 10001" in (ROOT / "Dockerfile").read_text()


def test_volumes_are_mounted_where_the_programs_look():
    (mount,) = container("master")["volumeMounts"]
    assert mount["mountPath"] == "/opt/tokenswarm/runs"
    prometheus = container("prometheus")
    assert prometheus["args"] == COMPOSE["prometheus"]["command"]
    assert prometheus["image"] == COMPOSE["prometheus"]["image"]
    mounts = {mount["name"]: mount["mountPath"] for mount in prometheus["volumeMounts"]}
    assert mounts == {"configuration": "/etc/prometheus", "series": "/prometheus"}


@pytest.mark.parametrize("name", ["master", "worker"])
def test_turns_may_end_and_results_be_written_before_the_kill(name):
    spec = of_kind("Deployment")[name]["spec"]["template"]["spec"]
    stop_timeout_s = float(parsed_locust(container(name)["args"]).stop_timeout)
    assert spec["terminationGracePeriodSeconds"] >= stop_timeout_s + 30

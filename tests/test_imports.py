"""workload, measure and report must import in a bare interpreter: no gevent, no Locust."""

import subprocess
import sys

IMPORT_ALL = """
import importlib, pkgutil, sys
for name in ("workload", "tokenswarm.measure", "tokenswarm.report"):
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(package.__path__, name + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
print(*sorted({"gevent", "locust"} & sys.modules.keys()))
"""


def test_the_pure_packages_import_neither_gevent_nor_locust():
    run = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr

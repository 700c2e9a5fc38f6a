"""The demo and the tutorial as a newcomer runs them: in a home with a space in its name, behind a proxy."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from testbed.build import build
from testbed.controlplane import free_ports
from testbed.paths import PROJECT

pytestmark = pytest.mark.cluster

TUTORIAL = (PROJECT / "docs" / "tutorial.md").read_text()
INSTEAD = {"make demo": "", ". .venv/bin/activate": "", "make down": "python -m testbed down --all"}
"""What the test does in place of a command that would install a virtual environment, or has been run before."""

PRINTED = {
    "kubectl get tj": [r"pipeline +Running +512", r"second-superpod +Pending", r"too-large +Stalled"],
    "kubectl supernode why pipeline": [r"LEVEL +TOUCHED +MINIMUM", r"rack +8 +8\b", r"\b0-7\b"],
    "kubectl get pod superpod-17 -o jsonpath='{.metadata.annotations}'": [r'"huawei.com/Ascend910":"Ascend910-0,'],
    "kubectl get pod superpod-17 -o jsonpath='{.spec.affinity}'": [r'"key":"metadata.name".*"a3-0-n017"'],
    "kubectl supernode plan -f examples/jobs/small.yaml": [r"demo/experiment: fits on nvidia-hgx8"],
    "kubectl supernode plan -f examples/jobs/pytorch-nvl72.yaml": [r"demo/finetune: does not fit", r"32 whole nodes"],
    "kubectl supernode why experiment": [r"Running", r"hgx-\d +0 +0-3\b"],
    "kubectl describe tj second-superpod": [r"Message: +needs 48 whole nodes; .* in use"],
    "kubectl supernode map ascend-a3-384-1": [r"supernode 592\b", r"0 +x\.\.\. +62/64"],
    "kubectl get tj nightly": [r"nightly +Suspended"],
    "python -m testbed.check": [r"demo/nightly .* 1 rack, 4 nodes", r"demo/second-superpod +48 +768", r"PASS"],
    "make down": [r"bed demo stopped"],
}
"""What commands of the tutorial print, as its text says."""
REFUSED = "kubectl supernode plan -f examples/jobs/pytorch-nvl72.yaml"
"""The one command that is to end with an error, 3: what was asked does not fit."""


@dataclass(frozen=True)
class Demo:
    """A demo that was run, and stays up."""

    done: subprocess.CompletedProcess[str]
    environment: Mapping[str, str]

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the tutorial as in a shell that has done its first step."""
        return _run(["sh", "-c", command], self.environment)


def _run(argv: list[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    built = build(print)
    cache = tmp_path_factory.mktemp("home") / "a cache"
    (cache / "supernode-operator").mkdir(parents=True)
    (cache / "supernode-operator" / built.name).symlink_to(built)
    proxy = f"http://127.0.0.1:{free_ports(1)[0]}"  # nothing listens there
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.pop("COLUMNS", None)  # of the tests' own reports; tables are as wide as a pipe takes them
    environment |= dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
    environment["XDG_CACHE_HOME"] = str(cache)
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    try:
        done = _run([sys.executable, "-m", "testbed.demo"], environment)
        first_step = 'eval "$(python -m testbed env --name demo)"; printf %s "$KUBECONFIG"'
        environment["KUBECONFIG"] = _run(["sh", "-c", first_step], environment).stdout
        yield Demo(done, environment)
    finally:
        _run([sys.executable, "-m", "testbed", "down", "--all"], environment)


def test_the_demo_shows_what_it_says(demo: Demo) -> None:
    assert demo.done.returncode == 0, demo.done.stdout + demo.done.stderr
    told = {}
    for part in demo.done.stdout.split("\n== ")[1:]:
        headline, _, told[headline] = part.partition("\n")
    parts = re.findall(r"^\| ([\w ]+) \|", TUTORIAL.partition("| part |")[2], re.MULTILINE)
    assert len(parts) == 6
    supernodes, jobs, refused, metrics, times, check = (
        text for part, (headline, text) in zip(parts, told.items(), strict=False) if part in headline
    )
    assert re.search(r"ascend-a3-384-1 .* supernode 608\b", supernodes)
    assert re.search(r"superpod +Running +768 +ascend-a3-384-0 +1 supernode, 12 racks, 48 nodes", jobs)
    assert re.search(r"second-superpod: Pending, InsufficientCards\n  needs 48 whole nodes", refused)
    assert 'supernode_cards{profile="ascend-a3-384",state="allocated"' in metrics
    assert re.search(r"raw client.* +\d+\.\d\d s", times)
    assert "every rule holds" in check


def test_the_readme_quotes_the_refusal_of_the_demo(demo: Demo) -> None:
    said = re.search(r"too-large: Stalled, NeverFits\n  (.*)", demo.done.stdout)
    drawn = re.search(r'refused: "(.+)\n.* {2,}(.+)"\n', (PROJECT / "README.md").read_text())
    assert said is not None
    assert drawn is not None
    assert re.fullmatch(re.escape(f"{drawn[1]} {drawn[2]}").replace(re.escape("..."), ".*"), said[1])


def test_the_tutorial_works_as_it_is_written(demo: Demo) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", TUTORIAL, re.MULTILINE | re.DOTALL)
    commands = [re.sub(r" {2,}#.*", "", line) for block in blocks for line in block.splitlines()]
    assert PRINTED.keys() <= set(commands)
    for command in commands:
        done = demo.shell(INSTEAD.get(command, command))
        told = f"$ {command}\n{done.stdout}{done.stderr}"
        assert done.returncode == (3 if command == REFUSED else 0), told
        for words in PRINTED.get(command, []):
            assert re.search(words, done.stdout), told

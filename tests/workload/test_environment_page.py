from pathlib import Path

import pytest

from supernode.api.trainingjob import Runtime
from supernode.workload import render_files, render_pod
from supernode.workload.ranktable import Device, Server

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "environment.md"


@pytest.mark.parametrize("runtime", list(Runtime))
def test_every_variable_and_file_is_on_the_page(job, profile, placed, runtime):
    group = placed(job(cards=32, runtime=runtime), profile("ascend-a3-384"))
    servers = {
        member.node: Server(
            f"10.0.0.{member.rank}", {index: Device("10.1.0.1", member.rank * 16 + index) for index in range(16)}
        )
        for member in group.members
    }
    files = render_files(group, servers)
    pod = render_pod(group, 0, files, predicate_time_ns=1)
    variables = [variable["name"] for variable in pod["spec"]["containers"][0]["env"]]
    names = [name for name in variables if not name.startswith("SUPERNODE_DOMAIN_")] + files.names
    page = PAGE.read_text()
    assert [name for name in names if f"`{name}`" not in page] == []

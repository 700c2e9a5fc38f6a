from pathlib import Path

import pytest

from supernode.topology.ledger import Seat
from supernode.workload import render_pod, worker_shape

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "environment.md"


@pytest.mark.parametrize("runtime", ["plain", "pytorch"])
def test_every_variable_is_on_the_page(job, profile, runtime):
    machine, one = profile("nvidia-nvl72"), job(cards=8, runtime=runtime)
    shape = worker_shape(one, machine)
    pod = render_pod(
        one, Seat(0, "n", 0xF), domains={}, shape=shape, profile=machine, group_uid="91ab", predicate_time_ns=1
    )
    page = PAGE.read_text()
    assert [v["name"] for v in pod["spec"]["containers"][0]["env"] if f"`{v['name']}`" not in page] == []

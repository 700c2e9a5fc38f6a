"""Loads of what comes and goes beside jobs: pods of others in very large supernodes, and nodes."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.figures import Figure
from bench.load import Table, carry, clean, say
from bench.loadapi import NODES, PODS, SUPERNODES, Api, within
from bench.loadbed import A960, Extent, Metrics, Stage
from bench.loadjobs import Work
from testbed.errors import TestbedError

OTHERS = "default"
"""Namespace of pods that no job has."""

FOREIGN_PAUSE = 0.02
"""Seconds between two pods of others that come."""

NODE_PAUSE = 0.5
"""Seconds between two nodes that go, and two that come."""

_OF_THE_SERVER = ("uid", "resourceVersion", "creationTimestamp", "managedFields")

Json = dict[str, Any]


async def meshes(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """Jobs of one node in supernodes of 1 936 nodes; then pods of others come and go on nodes beside them."""
    table, work = Table(name), Work(100 if extent.quick else 600, 1, A960, 8)
    await stage.start_operator()
    await stage.lend_reserves(api)
    took = await carry(stage, api, work)
    took.tell(name, work)
    table.add("jobs bound a second", work.jobs / took.bound)
    table.add_lags([took.lags])
    table.add("writes a minute, converged", took.quiet_writes)
    others = await _foreign_pods(api, work.jobs // 2)
    before, spent = await stage.metrics(), stage.seconds()["operator"]
    for pod in others:
        await api.request("POST", within(PODS, OTHERS), pod)
        await asyncio.sleep(FOREIGN_PAUSE)
    await stage.calm()
    await api.delete_all(within(PODS, OTHERS))
    await stage.calm()
    after, spent = await stage.metrics(), stage.seconds()["operator"] - spent
    each = spent / len(others) * 1e3
    say(f"{name}: pods of others: operator {each:.1f} ms each; {_lags(table, after, before, 'pods of others: ')}")
    table.add("operator, processor ms a pod of others", each)
    table.add("seconds to clean", await clean(api), "s")
    await stage.stop_operator()
    return table.figures


async def _foreign_pods(api: Api, number: int) -> list[Json]:
    """Pods that take a card each, bound by somebody else to nodes where nothing runs."""
    used = {pod["spec"].get("nodeName") for pod in await api.every(within(PODS))}
    names = [node["metadata"]["name"] for node in await api.every(NODES)]
    container = {"name": "serve", "image": "example.com/serve:1", "resources": {"limits": {A960.resource: "1"}}}
    return [
        {
            "metadata": {"name": f"other-{index}"},
            "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        for index, node in enumerate([name for name in names if name not in used][:number])
    ]


async def restless_nodes(stage: Stage, api: Api, name: str, extent: Extent) -> list[Figure]:
    """Nodes are deleted one after the other, and come back, while the operator has nothing else to do."""
    table = Table(name)
    await stage.start_operator()
    await stage.calm()
    formed = await api.count(SUPERNODES)
    known = await api.every(NODES)
    going = known[:: max(1, len(known) // (5 if extent.quick else 20))]
    before, spent = await stage.metrics(), stage.seconds()["operator"]
    for node in going:
        await api.request("DELETE", f"{NODES}/{node['metadata']['name']}")
        await asyncio.sleep(NODE_PAUSE)
    for node in going:
        meta = {key: value for key, value in node["metadata"].items() if key not in _OF_THE_SERVER}
        await api.request("POST", NODES, {**node, "metadata": meta})
        await asyncio.sleep(NODE_PAUSE)
    after, spent = await stage.metrics(), stage.seconds()["operator"] - spent
    await stage.calm()
    if (now := await api.count(SUPERNODES)) != formed:
        raise TestbedError(f"there were {formed} supernodes before nodes went and came, now there are {now}")
    each = spent / len(going) / 2 * 1e3
    say(f"{name}: {formed} supernodes: operator {each:.0f} ms a node; {_lags(table, after, before)}")
    table.add("operator, processor ms a node that goes or comes", each)
    await stage.stop_operator()
    return table.figures


def _lags(table: Table, after: Metrics, before: Metrics, what: str = "") -> str:
    """Add the figures of lag, and say them."""
    lags = after.lags(before)
    table.add_lags([lags], what)
    return str(lags)

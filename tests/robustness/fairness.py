"""Whether anybody waits who has room: by the test bed's own method, not the operator's."""

from history import Json, Key, of_kinds
from world import World

from testbed.check.facts import Cluster
from testbed.check.groups import ledgers
from testbed.check.minimum import NotRecomputedError
from testbed.check.report import Report
from testbed.check.topology import Occupancy, would_fit

Turn = tuple[int, str, Key]


def wait_although_they_fit(world: World) -> list[str]:
    """Groups of jobs that wait for cards although they would find room now.

    One may: nodes are held for another one that was before it and waits too, and its own status says so.
    """
    cluster = Cluster(of_kinds(world.history.objects))
    occupancy = Occupancy(cluster, ledgers(cluster, Report()))
    told, earlier = [], False
    for _, _, key in sorted(_turn(world, key) for key in _waiting(world)):
        group = world.history.objects["CardGroup"][key]
        try:
            fits = would_fit(cluster, group, occupancy)
        except NotRecomputedError:
            fits = False
        if fits and not (earlier and "held for" in str(group.get("status"))):
            told.append(f"{'/'.join(key)} waits although it fits: {_message(group)}")
        earlier = True
    return told


def _waiting(world: World) -> list[Key]:
    groups = world.history.objects["CardGroup"].items()
    return [key for key, group in groups if group.get("status", {}).get("phase") == "Pending"]


def _turn(world: World, key: Key) -> Turn:
    """Priority first, then age."""
    group = world.history.objects["CardGroup"][key]
    return -group["spec"].get("priority", 0), group["metadata"]["creationTimestamp"], key


def _message(group: Json) -> str:
    conditions = group["status"].get("conditions", ())
    return next((str(c["message"]) for c in conditions if c["type"] == "Allocated"), "")

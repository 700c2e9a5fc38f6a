"""What a random walk draws: jobs of many kinds, and faults of requests and watches."""

import random
from dataclasses import dataclass
from typing import Any

from testbed.faults import (
    CutWatch,
    Delay,
    DropReply,
    DropRequest,
    EditEvents,
    FailAfter,
    Fault,
    HalfOpen,
    HoldEvents,
    Late,
    Refuse,
    WatchError,
)
from testbed.proxy import Call

Json = dict[str, Any]

_NVL_CARDS = 4
_OF_ONE_NODE = ((2, 2), (4, 2), (4, 4), (8, 2), (2, 8), (1, 16), (2, 16), (3, 16))
"""Members and cards of jobs on the machine whose pods are pinned by annotations, mostly several in one node."""


def _topologies(replicas: int, cards: int, node: int) -> list[Json]:
    """What a job may ask for, on nodes of so many cards; the last one has no place anywhere."""
    found: list[Json] = [{}, {}, {}, {}, {"required": "supernode"}, {"maxSpan": {"supernode": 1}}]
    if replicas * cards <= node:
        found += [{"required": "node"}]
    if replicas % 2 == 0:
        found += [{"blocks": [{"level": "supernode", "members": 2}]}]
    if replicas % 2 == 0 and 2 * cards <= node:
        found += [{"blocks": [{"level": "node", "members": 2}]}]
    if cards == node or node == _NVL_CARDS:
        found += [{"spares": {"members": 1}}, {"spares": {"members": 1}}]
    return [*found, {"required": "nowhere"}]


def job(dice: random.Random) -> Json:
    """A TrainingJob of up to 24 members, as ``World.submit`` takes it."""
    profile, node = dice.choice((("nvidia-nvl72", _NVL_CARDS),) * 3 + (("ascend-a3-384", 16),))
    replicas, cards = dice.choice((1, 2, 3, 8, 16, 24)), dice.choice((1, 2, 4, 4))
    if profile == "ascend-a3-384":
        replicas, cards = dice.choice(_OF_ONE_NODE)
    topology = dice.choice(_topologies(replicas, cards, node))
    ends = dice.choice(({}, {}, {}, {}, {"run-seconds": "2"}, {"fail-seconds": "1"}))
    return {
        "replicas": replicas,
        "cards": cards,
        "profile": profile,
        "annotations": {f"testbed.supernode.io/{key}": value for key, value in ends.items()},
        "priority": dice.randrange(3),
        "runtime": dice.choice(("plain", "plain", "pytorch", "mpi")),
        "faultPolicy": {"maxRestarts": dice.randrange(3)},
        **({"topology": topology} if topology else {}),
        **dice.choice(({}, {"ttlSecondsAfterFinished": 1})),
    }


_WRITES = (
    ("create", "pods"),
    ("create", "cardgroups"),
    ("create", "services"),
    ("create", "configmaps"),
    ("create", "secrets"),
    ("patch", "supernodes/status"),
    ("patch", "cardgroups/status"),
    ("patch", "trainingjobs/status"),
    ("patch", "cardgroups"),
    ("delete", "pods"),
    ("delete", "cardgroups"),
    ("*", "*"),
)
_FOR_GOOD = (403, 422)
"""After these a supernode whose status is refused gives no cards for half a minute: here its status is spared them."""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Some requests in a row, and what happens to them."""

    verb: str
    resource: str
    fault: Fault
    nth: int
    times: int

    def takes(self, call: Call) -> bool:
        """Whether a request of this verb and resource is one of them."""
        spared = (
            isinstance(self.fault, Refuse) and self.fault.code in _FOR_GOOD and call.resource == "supernodes/status"
        )
        return (call.writes or self.verb == "watch") and not spared


def writes(dice: random.Random) -> Spoilt:
    """Writes that fail, or seem to."""
    verb, resource = dice.choice(_WRITES)
    fault: Fault = dice.choice(
        (
            DropReply(),
            DropRequest(),
            FailAfter(500),
            FailAfter(504),
            Refuse(403),
            Refuse(409),
            Refuse(422),
            Refuse(429, retry_after=1),
            Refuse(500),
            Refuse(503),
            Refuse(504),
            HalfOpen(),
            Delay(0.3),
        )
    )
    return Spoilt(verb, resource, fault, dice.randrange(1, 6), dice.randrange(1, 6))


_KINDS = ("nodes", "pods", "services", "supernodes", "cardgroups", "trainingjobs", "*")


def watches(dice: random.Random) -> Spoilt:
    """Watches that break, fall silent, stand still, or tell late or twice."""
    resource = dice.choice(_KINDS)
    fault: Fault = dice.choice(
        (
            CutWatch(5),
            WatchError(410, 5),
            WatchError(500, 5),
            HalfOpen(5),
            EditEvents(lambda event: [event, event]),
            Late(0.5),
            HoldEvents(after_start=True),
        )
    )
    return Spoilt("watch", resource, fault, 1, dice.randrange(1, 4))

"""Telling a node's device plugin or runtime which of its cards a pod gets, by the profile's `pinning.mode`.

annotation
    The protocol between Ascend's device plugin and a scheduler (Ascend/mind-cluster, `component/ascend-device-plugin/
    pkg/server/plugin.go`, `doWithVolcanoSchedule`). The annotation named like the resource lists the devices, each as
    the resource's last part and an index: `Ascend910-0,Ascend910-1`. `predicate-time`, nanoseconds as a decimal
    number, tells the plugin which pod is older: it answers a request for n cards with the oldest waiting pod of the
    node that lists n, and then marks that pod. Pods of one size that start on a node together would trade their
    sets, more often than not on a real kubelet, so `supernode.control.turns` lets them start one by one.
env
    A variable of the container that holds the cards lists their indices: `4,5,6,7`. It replaces the user's own, with
    which the pod could run on cards of other groups.
dra
    ResourceClaims that select the devices, made by `supernode.workload.claims`: pods do not ask for the resource then.
none
    Nothing. A member that takes its whole node has the cards it was placed on all the same; which ones of its node a
    smaller member gets, the kubelet and the device plugin choose.
"""

from supernode.api.names import ANNOTATION_PREDICATE_TIME
from supernode.topology.profile import Profile
from supernode.topology.ranges import card_indices


def cards_are_sure(profile: Profile, cards: int) -> bool:
    """Whether a pod placed on `cards` (bitmask of node indices) gets these and no other cards of its node."""
    return profile.pinning.mode != "none" or cards.bit_count() == profile.cards_per_node


def pinning_annotations(profile: Profile, cards: int, predicate_time_ns: int) -> dict[str, str]:
    """The annotations that pin a pod to `cards` (bitmask of node indices); empty in the other modes."""
    key = profile.pinning.key
    if profile.pinning.mode != "annotation" or key is None:
        return {}
    device = profile.resource.rpartition("/")[2]
    names = ",".join(f"{device}-{index}" for index in card_indices(cards))
    return {key: names, ANNOTATION_PREDICATE_TIME: str(predicate_time_ns)}


def pinning_env(profile: Profile, cards: int) -> dict[str, str]:
    """The variable that pins the card container to `cards`; empty in the other modes."""
    key = profile.pinning.key
    if profile.pinning.mode != "env" or key is None:
        return {}
    return {key: ",".join(map(str, card_indices(cards)))}

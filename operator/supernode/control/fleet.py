"""The fleet as the caches know it, kept as one snapshot: it is followed node by node, and built anew where need be."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial

from supernode.api.conditions import Reason
from supernode.api.profile import SuperNodeProfile
from supernode.control.caches import Caches
from supernode.control.devices import DeviceState
from supernode.control.dirty import Dirty
from supernode.control.distrust import Distrust
from supernode.control.foreign import foreign_pods
from supernode.control.ledgers import Ledgers, group_text
from supernode.control.records import Custom, PodRecord
from supernode.control.slices import Slices
from supernode.control.supernodes import Ledger, Trouble, conflicts_of, facts_of, trouble_of
from supernode.topology.devices import Claim
from supernode.topology.discovery import (
    Discovery,
    Found,
    NodeFacts,
    SuperNodeFacts,
    discover,
    selecting_labels,
    selecting_resources,
)
from supernode.topology.fleet import Fleet, SuperNodeView
from supernode.topology.profile import Profile
from supernode.topology.views import ForeignPod, build_view, held_cards, renew_view

LARGE = 256
"""A supernode of more nodes is built anew in a thread: of two thousand that takes 35 ms."""


class FleetState:
    """Profiles, supernodes and ledgers, and the snapshot that decisions are made on.

    The ``*_changed`` methods are cheap and only note what to look at; :meth:`refresh` does the work. ``version`` rises
    with every snapshot. ``rebuilt`` are supernodes that give more or less than before, ``reshaped`` says that profiles,
    supernodes or their nodes came, went or changed their form, ``changed`` are supernodes whose status may have to be
    written, ``discovered`` says that nodes were sorted anew; who handles them resets them. ``left_out`` are supernodes
    whose ledger cannot be written, ``uncreated`` those that cannot be created, with the API server's words.
    """

    def __init__(self, caches: Caches, device_grace: float = 0.0) -> None:
        self._caches = caches
        self._distrust = Distrust(device_grace)
        self.devices = DeviceState(caches)
        self._rediscover = True
        self._sorted_by: tuple[str, ...] = ()
        self._counted: frozenset[str] = frozenset()
        self._specs: dict[str, SuperNodeFacts] = {}
        self._dirty = Dirty()
        self._views: dict[str, SuperNodeView] = {}
        self.ledgers = Ledgers()
        self.profiles: dict[str, Profile] = {}
        self.troubles: dict[str, Trouble] = {}
        self.left_out: dict[str, Trouble] = {}
        self.uncreated: dict[str, str] = {}
        self.conflicts: dict[str, str] = {}
        self.discovery: Discovery = discover((), (), ())
        self.fleet = Fleet()
        self.version = 0
        self.rebuilt: set[str] = set()
        self.reshaped = False
        self.discovered = False
        self.changed: set[str] = set()

    # What the caches report.

    def node_changed(self, old: NodeFacts | None, new: NodeFacts | None) -> None:
        """Note a node's change; only one of its existence or of what it is sorted by asks for discovery."""
        moved = old is None or new is None or self._sorts(old) != self._sorts(new)
        self._rediscover |= moved
        for facts in (old, new):
            if facts is not None:
                self._note(facts.name, whole=moved)
        if new is None and old is not None:
            self._distrust.forget(old.name)
            self.devices.changed(old.name)

    def pod_changed(self, old: PodRecord | None, new: PodRecord | None) -> bool:
        """Note a pod's change; whether it matters, which pods on the cards of their groups do not."""
        if old is not None and new is not None and old.use == new.use:
            return False
        matters = False
        for pod in (old, new):
            if pod is None or pod.node is None or not pod.requests:
                continue
            supernode = self.discovery.assigned.get(pod.node)
            if supernode is not None and not self._covered(pod, pod.node):
                self._dirty.add(supernode, pod.node)
                matters = True
        return matters

    def node_refuses(self, node: str) -> None:
        """Note that a kubelet refuses members again and again: for a while the node gets nothing new."""
        self._distrust.refused(node, time.monotonic())
        self._note(node)

    def slices_changed(self, nodes: Iterable[str]) -> None:
        """Note that drivers say something else of these nodes' devices."""
        for node in nodes:
            self.devices.changed(node)
            home = self.discovery.assigned.get(node)
            if home is None:
                self._rediscover = True
            else:
                self._dirty.add(home, node)

    def report_changed(self, node: str) -> None:
        """Note that a device plugin says something else of a node's cards."""
        self._note(node)

    def reports_read(self) -> None:
        """Note that what device plugins say is known now, or is known to be out of reach."""
        self._dirty.add_whole(*(name for name, view in self._views.items() if view.profile.health.reports))

    def claim_changed(self, old: Claim | None, new: Claim | None) -> bool:
        """Note that a claim has other devices; whether it matters, which claims to the cards of their groups do not."""
        matters = False
        for claim in filter(None, (old, new)):
            for node in self.devices.nodes_of(claim):
                profile, home = self._profile_on(node), self.discovery.assigned.get(node)
                rule = profile.pinning.devices if profile is not None else None
                if home is not None and rule and self.devices.uncounted(claim, node, rule, self.held_on):
                    self._dirty.add(home, node)
                    matters = True
        return matters

    def all_devices_changed(self) -> None:
        """Note that drivers may say something else of any node's devices."""
        self.devices.all_changed()
        self._rediscover = True
        self._dirty.add_whole(*(name for name, view in self._views.items() if view.profile.pinning.devices))

    def _sorts(self, facts: NodeFacts) -> tuple[object, ...]:
        """What a node is sorted into a supernode by: some of its labels, and where a profile takes all that have its
        cards, whether it has any. A node whose device plugin has yet to come says that it has 0."""
        return (*map(facts.labels.get, self._sorted_by), {n for n in self._counted if facts.capacity.get(n, 0) > 0})

    def _note(self, node: str, *, whole: bool = False) -> None:
        """Note that something changed on a node, or may have changed its supernode as a whole."""
        home = self.discovery.assigned.get(node)
        if home is not None and whole:
            self._dirty.add_whole(home)
        elif home is not None:
            self._dirty.add(home, node)

    def next_time(self) -> float | None:
        """When (monotonic clock) a node is to be looked at again though no event tells of it."""
        return self._distrust.next_time()

    def profile_changed(self, old: Custom[SuperNodeProfile] | None, new: Custom[SuperNodeProfile] | None) -> bool:
        """Note that a profile came, went or was written; whether it matters, which a write of its status does not."""
        self.discovered = True  # the status is to say what is true, whoever wrote it
        if old is not None and new is not None and (old.model, old.error) == (new.model, new.error):
            return False
        self._rediscover = True
        return True

    def supernode_changed(self, name: str) -> None:
        """Note that a SuperNode came, went or was written, its ledger included."""
        record, before = self._caches.supernodes.store.get(("", name)), self._specs.pop(name, None)
        if record is not None and record.model is not None:
            self._specs[name] = facts_of(record)
        if self._specs.get(name) != before or name not in self.ledgers:
            self._rediscover = True
        if record is None:
            self.left_out.pop(name, None)
        self._dirty.add(name)

    def leave_out(self, refused: Mapping[str, str]) -> None:
        """Give no cards of supernodes whose ledger cannot be written, for these reasons, until it is."""
        for name, words in refused.items():
            self.left_out[name] = Trouble(Reason.INVALID_SPEC, f"the API server takes no write of its status: {words}")
            self._dirty.add(name)

    def written(self, name: str) -> None:
        """Note that a supernode's ledger was written by this leader."""
        if self.left_out.pop(name, None) is not None:
            self._dirty.add(name)

    def booked_on(self, node: str) -> int:
        """The cards (bitmask) of a node that ledgers give to anyone."""
        return self.ledgers.booked_on(node, self.discovery.assigned.get(node))

    def held_on(self, node: str, group: str) -> int:
        """The cards (bitmask) of a node that ledgers give to a group ("namespace/name"), also those of the supernode
        that it belonged to before."""
        return self.ledgers.held_on(node, self.discovery.assigned.get(node), group)

    def seated(self, pod: PodRecord) -> bool:
        """Whether a ledger gives the pod's group cards of the node it is on or is to come to."""
        group, node = pod.group_key, pod.place
        return group is not None and node is not None and self.held_on(node, group_text(group)) != 0

    def has_cards(self, pod: PodRecord) -> bool:
        """Whether a kubelet has admitted a pod with the cards that its annotation names, as far as can be known."""
        if pod.node is None or not pod.admitted or pod.cards is None:
            return False
        if (profile := self._profile_on(pod.node)) is None:
            return True
        if (rule := profile.pinning.devices) is None:
            return pod.named(profile.resource, profile.all_cards) == pod.cards
        claimed = self.devices.claimed_by(pod.group_key, pod.node, rule)
        return claimed is None or not pod.cards & ~claimed

    def view_of(self, node: str) -> SuperNodeView | None:
        """The supernode that a node belongs to, as it was seen last."""
        return self._views.get(self.discovery.assigned.get(node, ""))

    def exists(self, node: str) -> bool:
        """Whether there is a Node of this name, whatever it belongs to."""
        return ("", node) in self._caches.nodes.store

    def awaits_cards(self, node: str) -> bool:
        """Whether cards that this node has lost may come back, and count as there."""
        return self._distrust.waits_for(node)

    def foreign_on(self, node: str, profile: Profile) -> Iterable[ForeignPod]:
        """What pods or claims hold of a node's cards that no ledger counts."""
        if profile.pinning.devices is not None:
            return self.devices.foreign(node, profile.pinning.devices, self.held_on)
        return self._uncounted(self._caches.pods.store.by_index("node", node), node, profile)

    def _profile_on(self, node: str) -> Profile | None:
        """The profile of a node's supernode."""
        return self.profiles.get(self.discovery.profile_of.get(node, ""))

    # The snapshot.

    async def refresh(self) -> None:
        """Bring the snapshot up to the caches, all of it at once. Only one task may do so."""
        for node in self._distrust.over(time.monotonic()):
            self._note(node)
            self._rediscover |= bool(self._counted)
        if self._rediscover:
            self._rediscover = False
            await self._discover()
        dirty, self._dirty = self._dirty, Dirty()
        if not dirty:
            return
        self._read_ledgers(dirty)
        built, slices = {}, Slices()
        for name in dirty:
            built[name] = await self._look_at(name, dirty.nodes(name))
            await slices.turn()
        rebuilt = {
            name: view for name, view in built.items() if view is not None and _differs(self._views.get(name), view)
        }
        gone = [name for name, view in built.items() if view is None and name in self._views]
        self.reshaped |= bool(gone) or any(_reshaped(self._views.get(name), view) for name, view in rebuilt.items())
        self._views |= rebuilt
        for name in gone:
            del self._views[name]
        self.changed.update(dirty)
        if rebuilt or gone:
            self.rebuilt.update(rebuilt, gone)
            self.version += 1
            if gone or rebuilt.keys() - self.fleet.supernodes.keys():
                self.fleet = self.fleet.succeeded_by(self._views.values(), self.profiles)
            else:
                self.fleet = self.fleet.replace(*rebuilt.values())

    async def _discover(self) -> None:
        """Sort nodes into supernodes, in a thread: of ten thousand that takes a quarter of a second. What changes
        meanwhile asks for it again."""
        profiles = {
            key[1]: Profile.from_spec(key[1], record.model.spec)
            for key, record in self._caches.profiles.store.items()
            if isinstance(record.model, SuperNodeProfile)
        }
        self.devices.follow(profiles.values())
        unread = await self._read_specs()
        self._sorted_by = selecting_labels(profiles.values(), self._specs.values())
        self._counted = selecting_resources(profiles.values())
        nodes, slices = [], Slices()
        for facts in list(self._caches.nodes.store.values()):
            profile = self._profile_on(facts.name)
            if profile is None or profile.node_selector:
                nodes.append(self.devices.facts(facts))
            else:  # it goes by cards, and those that are away for a moment count as there
                nodes += self._facts([facts.name], profile)
            await slices.turn()
        before, conflicts = self.discovery, self.conflicts
        self.discovery, stale = await asyncio.to_thread(_sorted_anew, before, profiles, nodes, dict(self._specs))
        self.conflicts = conflicts_of(self.discovery)
        if profiles != self.profiles:
            self.profiles = profiles
            self.reshaped = True
            self.version += 1
            self.fleet = self.fleet.succeeded_by(self._views.values(), profiles)
            stale |= {name for name, view in self._views.items() if profiles.get(view.profile.name) != view.profile}
            stale |= self.troubles.keys()  # of those some may have lacked their profile
        self.discovered = True
        self.changed |= {name for name, _ in conflicts.items() ^ self.conflicts.items()}
        self._dirty.add_whole(*stale, *unread)

    async def _read_specs(self) -> list[str]:
        """Read the supernodes that nobody told of: at first all of them. Returns those whose ledger was not read."""
        slices = Slices()
        for key, record in list(self._caches.supernodes.store.items()):
            if record.model is not None and key[1] not in self._specs:
                self._specs[key[1]] = facts_of(record)
                await slices.turn()
        return [name for _, name in self._caches.supernodes.store if name not in self.ledgers]

    def _read_ledgers(self, dirty: Dirty) -> None:
        """Read the ledgers of these supernodes, and add the nodes for which they say something else than before.

        These are where entries came or went: pods and claims of their groups are counted there, or not any more.
        """
        assigned, abroad = self.discovery.assigned, set()
        for name in dirty:
            held = held_cards(self.ledgers.read(name, self._caches.supernodes.store.get(("", name))))
            dirty.add(name, *held)
            abroad |= {node for node in held if assigned.get(node) not in (name, None)}
        for node in abroad:
            dirty.add(assigned[node], node)
        for home, nodes in self.ledgers.find_strays(dirty, self.discovery.assigned).items():
            dirty.add(home, *nodes)

    async def _look_at(self, name: str, nodes: set[str] | None) -> SuperNodeView | None:
        """The view of a supernode of which only these nodes may have changed, or any where they are ``None``."""
        record = self._caches.supernodes.store.get(("", name))
        found = self.discovery.supernodes.get(name)
        ledger = self.ledgers.get(name)  # one that came since ledgers were read is looked at next time
        if record is None or record.model is None or found is None or ledger is None:
            self.troubles.pop(name, None)
            return None
        profile = self.profiles.get(found.profile)
        trouble = self.left_out.get(name) or trouble_of(record, profile, ledger)
        if trouble is not None:
            self.troubles[name] = trouble
        else:
            self.troubles.pop(name, None)
        if profile is None:
            return None
        found = replace(found, cordoned=found.cordoned or trouble is not None)
        if (renewed := self._renewed(found, profile, ledger, nodes)) is not None:
            return renewed
        build = partial(
            build_view,
            found,
            profile,
            self._facts(found.nodes, profile),
            ledger.entries,
            self._foreign(found.nodes, profile),
            held_elsewhere=self.ledgers.strays.get(name),
        )
        return await asyncio.to_thread(build) if len(found.nodes) > LARGE else build()

    def _renewed(self, found: Found, profile: Profile, ledger: Ledger, nodes: set[str] | None) -> SuperNodeView | None:
        """The view as it was but for these nodes; ``None`` where all of it has to be built anew."""
        view, strays = self._views.get(found.name), self.ledgers.strays.get(found.name, {})
        if nodes is None or view is None or view.profile != profile:
            return None
        facts = self._facts((node for node in nodes if self.discovery.assigned.get(node) == found.name), profile)
        if len(facts) < len(nodes):
            return None
        taken = {node: ledger.booked.get(node, 0) | strays.get(node, 0) for node in nodes}
        foreign = self._foreign(nodes, profile)
        return renew_view(view, facts, taken, ledger.entries, foreign, cordoned=found.cordoned)

    def _facts(self, nodes: Iterable[str], profile: Profile) -> list[NodeFacts]:
        """These nodes, as far as there are any, as decisions should see them."""
        moment, seen = time.monotonic(), (self._caches.nodes.store.get(("", node)) for node in nodes)
        there = (self.devices.facts(facts) for facts in seen if facts is not None)
        known = [self._distrust.facts(facts, profile, moment) for facts in there]
        if profile.health.reports is not None and not self._caches.reports.settled.is_set():
            return [replace(facts, withheld="until its device plugin's report is read") for facts in known]
        return known

    def _covered(self, pod: PodRecord, node: str) -> bool:
        """Whether ledgers count the cards of a pod on a node, and of all pods of its group there with it."""
        profile = self._profile_on(node)
        if pod.group is None or profile is None:
            return False
        there = self._caches.pods.store.by_index("node", node)
        theirs = (each for each in there if each.group_key == pod.group_key and each.key != pod.key)
        return not any(self._uncounted((pod, *theirs), node, profile))

    def _foreign(self, nodes: Iterable[str], profile: Profile) -> list[ForeignPod]:
        return [foreign for node in nodes for foreign in self.foreign_on(node, profile)]

    def _uncounted(self, pods: Iterable[PodRecord], node: str, profile: Profile) -> Iterator[ForeignPod]:
        """What pods on a node use that no ledger counts."""
        return foreign_pods(pods, node, profile.resource, profile.all_cards, self.held_on)


def _sorted_anew(
    before: Discovery,
    profiles: Mapping[str, Profile],
    nodes: Iterable[NodeFacts],
    specs: Mapping[str, SuperNodeFacts],
) -> tuple[Discovery, set[str]]:
    """What belongs to which supernode, and the supernodes that this makes others than before."""
    after = discover(profiles.values(), nodes, specs.values())
    stale = before.supernodes.keys() ^ after.supernodes.keys()
    return after, stale | {name for name, found in after.supernodes.items() if before.supernodes.get(name) != found}


def _differs(old: SuperNodeView | None, new: SuperNodeView) -> bool:
    """Whether anything changed: a view that stays the same object keeps what decisions remember of it."""
    if old is None or old.profile != new.profile:
        return True
    return (old.nodes, old.cordoned, old.reserve, old.ledger) != (new.nodes, new.cordoned, new.reserve, new.ledger)


def _reshaped(old: SuperNodeView | None, new: SuperNodeView) -> bool:
    """Whether other nodes, or nodes of another size, make up the supernode."""
    if old is None or old.profile != new.profile or len(old.nodes) != len(new.nodes):
        return True
    return old.layout is not new.layout and any(
        (a.name, a.cards, a.path) != (b.name, b.cards, b.path) for a, b in zip(old.nodes, new.nodes, strict=True)
    )

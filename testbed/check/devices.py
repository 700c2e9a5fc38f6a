"""Cards that are devices of a driver for Dynamic Resource Allocation: what slices, taints and claims say of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Json = dict[str, Any]
Cards = frozenset[int]


class Devices:
    """The devices of all nodes, and who has them."""

    def __init__(self, slices: Iterable[Json], rules: Iterable[Json], claims: Iterable[Json]) -> None:
        self._slices: dict[str, list[Json]] = {}
        for part in slices:
            self._slices.setdefault(part["spec"].get("nodeName", ""), []).append(part["spec"])
        self._rules = [rule["spec"] for rule in rules]
        self._claims = {(claim["metadata"]["namespace"], claim["metadata"]["name"]): claim for claim in claims}

    def described(self, node: Json, resource: str, rule: Mapping[str, str]) -> Json:
        """The Node as if its devices were counted by the extended resource, and those that are barred named."""
        cards = self._cards(node["metadata"]["name"], rule)
        barred = [card for card, (pool, device) in cards.items() if self._barred(rule["driver"], pool, device)]
        count = {resource: str(len(cards))}
        usable = {resource: str(len(cards) - len(barred))}
        status, metadata = node["status"], node["metadata"]
        named = {"supernode.io/unhealthy-cards": ",".join(map(str, sorted(barred)))} if barred else {}
        return {
            **node,
            "metadata": {**metadata, "annotations": {**metadata.get("annotations", {}), **named}},
            "status": {
                **status,
                "capacity": {**status.get("capacity", {}), **count},
                "allocatable": {**status.get("allocatable", {}), **usable},
            },
        }

    def given(self, namespace: str, claims: Iterable[str], node: str, rule: Mapping[str, str]) -> Cards | None:
        """The node's cards that these claims have; None when one has devices that are no cards of it."""
        card_of = {place: card for card, place in self._cards(node, rule).items()}
        results = [
            result
            for name in claims
            for result in self._claims.get((namespace, name), {})
            .get("status", {})
            .get("allocation", {})
            .get("devices", {})
            .get("results", ())
            if result["driver"] == rule["driver"]
        ]
        cards = [card_of.get((result["pool"], result["device"])) for result in results]
        return None if None in cards else frozenset(card for card in cards if card is not None)

    def _cards(self, node: str, rule: Mapping[str, str]) -> dict[int, tuple[str, str]]:
        """Each card's pool and device, of the newest generation of each pool."""
        parts = [part for part in self._slices.get(node, ()) if part["driver"] == rule["driver"]]
        newest: dict[str, int] = {}
        for part in parts:
            pool = part["pool"]
            newest[pool["name"]] = max(newest.get(pool["name"], 0), pool["generation"])
        return {
            card: (part["pool"]["name"], device["name"])
            for part in parts
            if part["pool"]["generation"] == newest[part["pool"]["name"]]
            for device in part.get("devices", ())
            if (card := _card(device, rule)) is not None
        }

    def _barred(self, driver: str, pool: str, name: str) -> bool:
        taints = [
            taint
            for parts in self._slices.values()
            for part in parts
            if part["driver"] == driver and part["pool"]["name"] == pool
            for device in part.get("devices", ())
            if device["name"] == name
            for taint in device.get("taints", ())
        ]
        place = {"driver": driver, "pool": pool, "device": name}
        taints += [
            rule["taint"]
            for rule in self._rules
            if (chosen := rule.get("deviceSelector")) is not None and chosen.items() <= place.items()
        ]
        return any(taint["effect"] in ("NoSchedule", "NoExecute") for taint in taints)


def _card(device: Json, rule: Mapping[str, str]) -> int | None:
    if pattern := rule.get("namePattern"):
        match = re.fullmatch(re.escape(pattern).replace(re.escape("{index}"), r"(\d+)"), device["name"])
        return int(match[1]) if match else None
    wanted = rule["indexAttribute"]
    for name in (wanted, wanted.removeprefix(f"{rule['driver']}/")):
        if (value := device.get("attributes", {}).get(name, {}).get("int")) is not None:
            return int(value)
    return None

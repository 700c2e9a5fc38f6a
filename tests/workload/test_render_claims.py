"""ResourceClaims: what they ask for, how pods use them, when their names change."""

from dataclasses import replace

import pytest

from supernode.workload import DevicesMissing, render_claims, render_files, render_pod

DRA = {
    "mode": "dra",
    "devices": {
        "driver": "gpu.nvidia.com",
        "deviceClass": "gpu.nvidia.com",
        "namePattern": "gpu-{index}",
        "selectAttribute": "uuid",
    },
}
VALUES = {card: f"GPU-{card}" for card in range(1024)}


@pytest.fixture(name="group")
def group_(job, profile, placed):
    return placed(job(cards=16), profile("nvidia-hgx8", pinning=DRA))


def render(group, rank=0, values=VALUES):
    claims = render_claims(group, rank, values)
    return claims, render_pod(group, rank, render_files(group), predicate_time_ns=1, claims=claims)


def listed(claim):
    expression = claim["spec"]["devices"]["requests"][0]["exactly"]["selectors"][0]["cel"]["expression"]
    return expression.rpartition(" in [")[2].rstrip("]").split(", ")


def wide(job, profile, placed, cards):
    levels = [{"name": "node", "fanOut": 1024}]
    return placed(job(cards=cards), profile("nvidia-hgx8", levels=levels, pinning=DRA, allocation={}))


@pytest.mark.parametrize(
    ("cards", "sizes"), [(1, [1]), (8, [8]), (32, [32]), (33, [32, 1]), (40, [32, 8]), (384, [32] * 12)]
)
def test_a_member_has_as_many_claims_as_its_cards_need(job, profile, placed, cards, sizes):
    claims, pod = render(wide(job, profile, placed, cards))
    assert [claim["spec"]["devices"]["requests"][0]["exactly"]["count"] for claim in claims] == sizes
    assert [listed(claim) for claim in claims] == [
        [f'"GPU-{card}"' for card in range(start, min(start + 32, cards))] for start in range(0, cards, 32)
    ]
    used = {entry["name"]: entry["resourceClaimName"] for entry in pod["spec"]["resourceClaims"]}
    assert list(used.values()) == [claim["metadata"]["name"] for claim in claims]
    assert [entry["name"] for entry in pod["spec"]["containers"][0]["resources"]["claims"]] == list(used)


def test_the_count_of_the_resource_goes_and_what_else_is_asked_for_stays(job, profile, placed):
    asks = {"limits": {"nvidia.com/gpu": "8", "rdma/hca": "1"}, "requests": {"nvidia.com/gpu": "8"}}
    own = {"name": "channel", "resourceClaimTemplateName": "imex"}
    containers = [
        {"name": "first", "image": "i"},
        {"name": "second", "image": "i", "resources": {**asks, "claims": [{"name": "channel"}]}},
    ]
    template = {"containers": containers, "resourceClaims": [own]}
    _, pod = render(placed(job(template, cards=16), profile("nvidia-hgx8", pinning=DRA)))
    first, second = pod["spec"]["containers"]
    assert "resources" not in first
    assert second["resources"] == {
        "limits": {"rdma/hca": "1"},
        "claims": [{"name": "channel"}, {"name": "supernode-cards-0"}],
    }
    assert pod["spec"]["resourceClaims"][0] == own


def test_a_claim_belongs_to_the_allocation(group):
    [claim], _ = render(group)
    assert claim["metadata"]["ownerReferences"] == [
        {"apiVersion": "supernode.io/v1alpha1", "kind": "CardGroup", "name": "llama", "uid": group.uid}
    ]
    assert claim["metadata"]["labels"]["supernode.io/group"] == "llama"


def names(group, values=VALUES):
    return [claim["metadata"]["name"] for rank in (0, 1) for claim in render_claims(group, rank, values)]


def test_names_change_with_what_a_claim_asks_for_and_with_nothing_else(group):
    before = names(group)
    assert names(group) == before
    assert len(set(before)) == 2
    first, second = group.members
    for moved in (first._replace(node="elsewhere"), first._replace(cards=0xFF << 8)):
        after = names(replace(group, members=(moved, second)))
        assert after[0] != before[0]
        assert after[1] == before[1]
    assert not set(names(replace(group, uid="another"))) & set(before)
    renewed = names(group, {**VALUES, 3: "GPU-new"})
    assert renewed[0] != before[0]


def test_integers_are_no_strings(job, profile, placed):
    devices = {"driver": "d.io", "deviceClass": "c", "indexAttribute": "x.io/index"}
    group = placed(job(cards=2), profile("nvidia-hgx8", pinning={"mode": "dra", "devices": devices}))
    [claim] = render_claims(group, 0, {0: 0, 1: 1})
    assert claim["spec"]["devices"]["requests"][0]["exactly"]["selectors"][0]["cel"]["expression"] == (
        'device.driver == "d.io" && "index" in device.attributes["x.io"] '
        '&& device.attributes["x.io"]["index"] in [0, 1]'
    )


def test_a_value_cannot_end_its_expression(group):
    [claim] = render_claims(group, 0, {**VALUES, 0: 'x"] || true || "a" in ["'})
    expression = claim["spec"]["devices"]["requests"][0]["exactly"]["selectors"][0]["cel"]["expression"]
    assert r'in ["x\"] || true || \"a\" in [\"", "GPU-1", ' in expression


def test_devices_that_are_not_published_are_named(group):
    values = {card: value for card, value in VALUES.items() if card not in (2, 3)}
    with pytest.raises(DevicesMissing, match=r"gpu\.nvidia\.com publishes no device for the cards 2-3 of node n0"):
        render_claims(group, 0, values)


def test_other_modes_claim_nothing(job, profile, placed):
    assert render_claims(placed(job(cards=16), profile("nvidia-hgx8")), 0, {}) == []

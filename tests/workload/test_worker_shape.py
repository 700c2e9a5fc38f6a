import pytest

from supernode.api.conditions import Reason
from supernode.workload import InvalidSpec, WorkerShape, natural_worker, worker_shape

CARD = "huawei.com/Ascend910"


def asking(*counts: object) -> dict:
    """A template whose containers ask for so many cards each."""
    containers = [{"name": "main", "image": "trainer"}, {"name": "beside", "image": "logs"}]
    asked = ({"resources": {part: {CARD: count} for part in ("requests", "limits")}} for count in counts)
    return {"containers": [container | resources for container, resources in zip(containers, asked, strict=False)]}


@pytest.mark.parametrize(
    ("cards", "shape"),
    [(1, (1, 1)), (8, (1, 8)), (15, (1, 15)), (16, (1, 16)), (32, (2, 16)), (768, (48, 16))],
)
def test_a_natural_worker_is_a_whole_node_or_the_only_one(profile, cards, shape):
    assert natural_worker(profile("ascend-a3-384"), cards) == WorkerShape(*shape)


def test_cards_that_leave_a_part_of_a_node_are_ambiguous(profile):
    with pytest.raises(
        InvalidSpec, match=r"spec\.cards: 40 .* ask for 32 or 48, or set spec\.workers\.cardsPerWorker"
    ) as refused:
        natural_worker(profile("ascend-a3-384"), 40)
    assert refused.value.reason is Reason.AMBIGUOUS_WORKER


@pytest.mark.parametrize(
    ("spec", "workers", "template", "shape"),
    [
        ({"cards": 64}, {}, None, (4, 16)),
        ({"cards": 40}, {"cardsPerWorker": 8}, None, (5, 8)),
        ({"cards": 64}, {}, asking("4"), (16, 4)),
        ({}, {"replicas": 3, "cardsPerWorker": 2}, None, (3, 2)),
        ({}, {"replicas": 3}, asking("4"), (3, 4)),
        ({}, {"replicas": 3}, None, (3, 16)),
        ({}, {"replicas": 3, "cardsPerWorker": 4}, asking("4"), (3, 4)),
        ({}, {"replicas": 3}, asking("4.0"), (3, 4)),
        ({}, {"replicas": 3}, asking("0"), (3, 16)),
        ({}, {"replicas": 3, "cardsPerWorker": 8}, asking(0), (3, 8)),
        ({}, {"replicas": 3}, asking("4", "0"), (3, 4)),
        ({}, {"replicas": 3}, asking("0", "4"), (3, 4)),
        ({"cards": 32}, {}, asking("0", "0"), (2, 16)),
    ],
)
def test_the_size_of_a_worker_is_the_field_then_the_template_then_a_node(profile, job, spec, workers, template, shape):
    assert worker_shape(job(template, workers=workers, **spec), profile("ascend-a3-384")) == WorkerShape(*shape)


@pytest.mark.parametrize(
    ("spec", "workers", "template", "message"),
    [
        ({}, {"replicas": 2, "cardsPerWorker": 8}, asking("4"), r"cardsPerWorker: is 8, but the template asks for 4"),
        ({"cards": 30}, {}, asking("4"), r"spec\.cards: 30 is not a multiple of the 4 cards of a worker"),
        ({"cards": 32}, {}, asking("500m"), r"'500m'; cards are whole"),
        (
            {"cards": 32},
            {},
            {
                "containers": [
                    {"name": "main", "image": "t", "resources": {"limits": {CARD: 8}, "requests": {CARD: 4}}},
                ]
            },
            r"containers\.main\.resources: requests and limits .* differ \(4 and 8\)",
        ),
    ],
)
def test_contradictions_are_refused_with_the_field_and_the_remedy(profile, job, spec, workers, template, message):
    with pytest.raises(InvalidSpec, match=message):
        worker_shape(job(template, workers=workers, **spec), profile("ascend-a3-384"))


def init(**container: object) -> dict:
    return {"initContainers": [{"image": "i", **container}]}


def test_an_init_container_that_asks_for_no_card_is_none_that_asks(profile, job):
    none = {"limits": {CARD: "0"}}
    template = asking("4") | init(name="first", resources=none)
    assert worker_shape(job(template, cards=8), profile("ascend-a3-384")) == WorkerShape(2, 4)


@pytest.mark.parametrize(
    ("template", "path"),
    [
        ({"volumes": [{"name": "data"}, {"name": "supernode-group", "emptyDir": {}}]}, r"volumes\[1\]"),
        (init(name="supernode-ssh"), r"initContainers\[0\]"),
        ({"containers": [{"name": "supernode-unpack", "image": "i"}]}, r"containers\[0\]"),
        ({"resourceClaims": [{"name": "supernode-cards-0", "resourceClaimName": "x"}]}, r"resourceClaims\[0\]"),
    ],
)
def test_names_that_the_operator_may_add_are_refused_before_cards_are_asked_for(profile, job, template, path):
    with pytest.raises(InvalidSpec, match=rf"template\.spec\.{path}\.name: 'supernode-.*'.*; rename it"):
        worker_shape(job(template, cards=32), profile("ascend-a3-384"))

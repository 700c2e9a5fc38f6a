import pytest

from supernode.api.conditions import Reason
from supernode.workload import InvalidSpec, WorkerShape, natural_worker, worker_shape

CARD = "huawei.com/Ascend910"


def asking(count: str) -> dict:
    return {"containers": [{"name": "main", "image": "trainer", "resources": {"limits": {CARD: count}}}]}


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

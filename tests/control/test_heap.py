"""What lives for long is not walked by the garbage collector again and again."""

import gc
from collections.abc import Iterator

import pytest

from supernode.control import heap

MANY = 400_000


class Cell:
    """Something that only the garbage collector can see to be garbage."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    before = gc.get_threshold(), list(gc.callbacks)
    yield
    assert (gc.get_threshold(), list(gc.callbacks), gc.get_freeze_count()) == (*before, 0)


def test_what_has_grown_is_spared_from_the_second_full_collection_on(monkeypatch: pytest.MonkeyPatch) -> None:
    with heap.settled():
        known = gc.get_freeze_count()
        grown = [[number] for number in range(MANY)]
        monkeypatch.setattr(heap, "LONG_SECONDS", 0.0)
        gc.collect()
        assert gc.get_freeze_count() >= known + len(grown)
        assert len(gc.get_objects()) < MANY


def test_a_short_collection_spares_nothing_and_young_ones_never_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with heap.settled():
        known = gc.get_freeze_count()
        monkeypatch.setattr(heap, "LONG_SECONDS", 3600.0)
        gc.collect()
        monkeypatch.setattr(heap, "LONG_SECONDS", 0.0)
        gc.collect(1)
        assert gc.get_freeze_count() <= known


def test_what_a_term_leaves_is_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "LONG_SECONDS", 0.0)

    def cells() -> int:
        return sum(isinstance(each, Cell) for each in gc.get_objects())

    with heap.settled():
        kept = [Cell() for _ in range(10)]
        gc.collect()
        del kept
        gc.collect()
        heap.term_ended()
        assert cells() == 10, "they were spared until now"
        gc.collect()
        assert cells() == 0

"""The store: whatever order the news comes in, it ends at the truth and never steps back."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from supernode.cluster.resources import JsonObject, Key
from supernode.cluster.store import Store

Record = tuple[str, int]


def obj(name: str, version: int, value: str = "") -> JsonObject:
    return {"metadata": {"name": name, "resourceVersion": str(version), "labels": {"value": value}}}


def convert(body: JsonObject) -> Record | None:
    metadata = body["metadata"]
    return (metadata["labels"]["value"], int(metadata["resourceVersion"]))


class Mirror:
    """What somebody knows who only listens to changes."""

    def __init__(self) -> None:
        self.records: dict[Key, Any] = {}
        self.changes: list[tuple[Key, Any, Any]] = []

    def __call__(self, key: Key, old: Any, new: Any) -> None:
        assert self.records.get(key) == old
        self.changes.append((key, old, new))
        if new is None:
            del self.records[key]
        else:
            self.records[key] = new


def store(mirror: Mirror | None = None, **options: Any) -> Store[Any]:
    return Store(options.pop("convert", convert), mirror or Mirror(), options.pop("indices", None))


KEY = ("", "a")


def test_newer_wins_older_and_equal_do_not() -> None:
    mirror = Mirror()
    cache = store(mirror)
    assert cache.put(obj("a", 5, "five"))
    assert not cache.put(obj("a", 5, "again"))
    assert not cache.put(obj("a", 4, "four"))
    cache.observe("MODIFIED", obj("a", 3, "three"))
    assert cache.get(KEY) == ("five", 5)
    cache.observe("MODIFIED", obj("a", 6, "six"))
    assert (cache.get(KEY), cache.revision) == (("six", 6), 6)
    assert [new for _, _, new in mirror.changes] == [("five", 5), ("six", 6)]


def test_what_the_watch_has_seen_deleted_stays_deleted() -> None:
    cache = store()
    cache.observe("ADDED", obj("a", 3))
    cache.observe("DELETED", obj("a", 7))
    assert not cache.put(obj("a", 5))
    assert KEY not in cache
    assert cache.put(obj("a", 8, "new"))


def test_a_deletion_told_amid_a_list_outlives_late_events() -> None:
    cache = store()
    cache.observe("ADDED", obj("a", 3))
    cache.remove(obj("a", 9))
    assert KEY not in cache
    for version in (5, 6):
        cache.observe("MODIFIED", obj("a", version))
        assert KEY not in cache
    cache.observe("DELETED", obj("a", 9))
    cache.observe("ADDED", obj("a", 11, "new"))
    assert cache.get(KEY) == ("new", 11)


def test_a_list_replaces_but_not_what_is_newer() -> None:
    cache = store()
    for name in "abc":
        cache.observe("ADDED", obj(name, 5))
    cache.put(obj("d", 20, "ours"))
    cache.put(obj("a", 21, "ours"))
    seen = {cache.include(obj("a", 7)), cache.include(obj("e", 9))}
    cache.finish_list(seen, 10)
    assert dict(cache.items()) == {("", "a"): ("ours", 21), ("", "d"): ("ours", 20), ("", "e"): ("", 9)}
    assert cache.revision == 10


def test_after_a_restore_the_older_history_is_taken_over() -> None:
    mirror = Mirror()
    cache = store(mirror)
    cache.observe("ADDED", obj("a", 50, "lost"))
    cache.observe("ADDED", obj("b", 51, "lost"))
    cache.rewind()
    cache.finish_list({cache.include(obj("a", 7, "restored"))}, 10)
    assert dict(cache.items()) == mirror.records == {KEY: ("restored", 7)}


@pytest.mark.parametrize(
    ("listed", "at", "another"),
    [
        ({KEY: 40}, 1_000, True),
        ({KEY: 40}, 49, False),  # the list is older than the change, as lists beside a watch may be
        ({KEY: 50}, 1_000, False),
        ({KEY: 60}, 1_000, False),
        ({}, 1_000, False),  # deleted since
        ({("", "new"): 30}, 1_000, False),
        ({("", "removed"): 54}, 54, False),
        ({("", "removed"): 54}, 55, True),
    ],
)
def test_an_object_older_than_it_was_proves_another_history(listed: dict[Key, int], at: int, another: bool) -> None:
    """After a restore of etcd with a bumped revision lists are far ahead and objects have their versions of old."""
    cache = store()
    cache.observe("ADDED", obj("removed", 45))
    cache.observe("MODIFIED", obj("a", 50, "lost"))
    cache.remove(obj("removed", 55))
    assert cache.contradicted(listed, at) is another


def test_objects_without_a_record_are_absent() -> None:
    mirror = Mirror()
    cache = store(mirror, convert=lambda body: convert(body) if body["metadata"]["labels"]["value"] else None)
    cache.observe("ADDED", obj("a", 3, "shown"))
    cache.observe("MODIFIED", obj("a", 4, ""))
    assert KEY not in cache
    assert not cache.put(obj("a", 3, "shown"))
    assert [new for _, _, new in mirror.changes] == [("shown", 3), None]


def test_a_poison_object_and_a_failing_listener_stop_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def listen(*_: object) -> None:
        raise RuntimeError("listener")

    def choke(body: JsonObject) -> Record | None:
        if body["metadata"]["name"] == "poison":
            raise ValueError("poison")
        return convert(body)

    cache: Store[Record] = Store(choke, listen)
    cache.observe("ADDED", obj("poison", 1))
    cache.observe("ADDED", obj("a", 2))
    assert list(cache) == [KEY]
    assert "cannot read object /poison" in caplog.text
    assert "the change of /a was not taken in" in caplog.text


def test_equal_records_are_no_change() -> None:
    mirror = Mirror()
    cache = store(mirror, convert=lambda body: body["metadata"]["labels"]["value"])
    cache.observe("ADDED", obj("a", 1, "same"))
    cache.observe("MODIFIED", obj("a", 2, "same"))
    assert len(mirror.changes) == 1
    assert not cache.put(obj("a", 2, "other")), "it is at that version all the same"


def test_indices_follow_the_records() -> None:
    cache = store(indices={"letter": lambda record: set(record[0])})
    cache.observe("ADDED", obj("a", 1, "xy"))
    cache.observe("ADDED", obj("b", 2, "y"))
    assert cache.by_index("letter", "y") == [("xy", 1), ("y", 2)]
    assert (cache.count("letter", "y"), cache.count("letter", "z")) == (2, 0)
    cache.observe("MODIFIED", obj("a", 3, "yz"))
    assert cache.by_index("letter", "x") == []
    assert sorted(cache.by_index("letter", "y")) == [("y", 2), ("yz", 3)]
    cache.observe("DELETED", obj("b", 4))
    assert cache.by_index("letter", "y") == cache.by_index("letter", "z") == [("yz", 3)]
    with pytest.raises(KeyError):
        cache.by_index("number", 1)


Step = tuple[str, str, float]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["write", "delete", "watch", "watch", "list", "answer"]),
            st.sampled_from("abc"),
            st.floats(0, 1, exclude_max=True),
        ),
        max_size=60,
    )
)
def test_any_order_of_news_ends_at_the_truth(steps: list[Step]) -> None:
    """A server with a history; watch, lists and late answers to our writes deliver parts of it in any interleaving."""
    history: list[tuple[str, JsonObject]] = []
    state: dict[Key, JsonObject] = {}
    states: list[dict[Key, JsonObject]] = [{}]
    mirror = Mirror()
    cache = store(mirror)
    watched = 0

    def happen(kind: str, name: str) -> None:
        body = obj(name, len(history) + 1, kind)
        history.append((kind, body))
        key = ("", name)
        state.pop(key, None) if kind == "DELETED" else state.update({key: body})
        states.append(dict(state))

    def list_all() -> int:
        versions = {key: int(body["metadata"]["resourceVersion"]) for key, body in state.items()}
        assert not cache.contradicted(versions, len(history))
        cache.finish_list({cache.include(body) for body in state.values()}, len(history))
        return len(history)

    list_all()
    shown: dict[Key, int] = {}
    for action, name, where in steps:
        if action == "write":
            happen("MODIFIED" if ("", name) in state else "ADDED", name)
        elif action == "delete" and ("", name) in state:
            happen("DELETED", name)
        elif action == "watch" and watched < len(history):
            cache.observe(*history[watched])
            watched += 1
        elif action == "list":
            watched = list_all()
        elif action == "answer" and history:
            kind, body = history[int(where * len(history))]
            (cache.remove if kind == "DELETED" else cache.put)(body)
        for key, (_, version) in cache.items():
            assert version >= shown.get(key, 0), "stepped back"
            shown[key] = version
        assert dict(cache.items()) == mirror.records
        for key in [("", name) for name in "abc"]:
            assert_real(cache, key, states, watched, convert)
    for event in history[watched:]:
        cache.observe(*event)
    assert dict(cache.items()) == mirror.records == {key: convert(body) for key, body in state.items()}


def assert_real(
    cache: Store[Any],
    key: Key,
    states: list[dict[Key, JsonObject]],
    watched: int,
    read: Callable[[JsonObject], Record | None],
) -> None:
    """What the cache says of `key` was true at some moment not before the last event the watch has delivered."""
    possible = [read(state[key]) if key in state else None for state in states[watched:]]
    assert cache.get(key) in possible

"""Every JSON text that an API server may send is decoded, whatever a user has put into an object."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.errors import InvalidObject
from supernode.api.reading import parse_stored
from supernode.api.trainingjob import TrainingJob
from supernode.cluster.decoding import DEPTH, decoded

TOO_DEEP = '{"a":[' * 600 + "1" + "]}" * 600
"""More levels than a decoder takes."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def depth_of(value: Any) -> int:
    depth, level = 0, [value]
    while level := [each for here in level if isinstance(here, dict | list) for each in _inside(here)]:
        depth += 1
    return depth


def _inside(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value


@given(JSON, st.booleans())
def test_what_lies_beside_the_depth_is_decoded_as_it_is(value: Any, escaped: bool) -> None:
    """Brackets and quotes in strings are no structure, with or without escapes."""
    beside = json.dumps(value, ensure_ascii=escaped) if escaped else orjson.dumps(value).decode()
    found = decoded(f'{{"before":{beside},"deep":{TOO_DEEP},"after":[{beside}]}}'.encode())
    assert (found["before"], found["after"]) == (value, [value])
    assert depth_of(found) == DEPTH


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a":[1,"\xc3\xa4"]}', {"a": [1, "ä"]}),
        (b"[" * 1000 + b"]" * 1000, None),
        (b'["\\ud800",1]', ["\ud800", 1]),
        (b'["\xff",1]', ["�", 1]),
        (b"[1e999]", [float("inf")]),
    ],
    ids=["as fast as can be", "just not too deep", "half of a pair", "no text", "no number"],
)
def test_what_is_hard_to_decode(text: bytes, value: Any) -> None:
    """Opaque parameters of a ResourceClaim are passed on byte by byte."""
    found = decoded(text)
    assert value is None or found == value
    beside = decoded(b'{"deep":%s,"hard":%s}' % (TOO_DEEP.encode(), text))
    assert value is None or beside["hard"] == value


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"a":1', b"<html>", b'["a]', b"]", b"[" * 2000, b"[" * 2000 + b"]" * 1999]
)
def test_what_is_no_json_is_refused(text: bytes) -> None:
    with pytest.raises(json.JSONDecodeError):
        decoded(text)


def test_an_object_of_which_something_was_cut_is_refused() -> None:
    """Else pods would be made that are not what the user wrote."""
    containers = [{"name": "train", "image": "i", "deep": "DEEP"}]
    obj = {
        "apiVersion": "supernode.io/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "llama", "namespace": "research"},
        "spec": {"cards": 8, "workers": {"template": {"spec": {"containers": containers}}}},
    }
    text = json.dumps({"type": "ADDED", "object": obj}).replace('"DEEP"', TOO_DEEP)
    with pytest.raises(InvalidObject, match="levels of nesting; take it out"):
        parse_stored(TrainingJob, decoded(text.encode())["object"])

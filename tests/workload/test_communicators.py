"""Communication groups against the definition of the numbering, coordinate by coordinate."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.trainingjob import Parallelism
from supernode.workload import InvalidSpec, communicators

degrees = st.integers(1, 5)


@given(tensor=degrees, context=degrees, data=degrees, pipeline=degrees, expert=degrees)
def test_groups_are_the_ranks_that_differ_in_one_coordinate(tensor, context, data, pipeline, expert):
    cards = tensor * context * data * pipeline
    split = Parallelism(tensor=tensor, context=context, data=data, pipeline=pipeline, expert=expert)
    if (context * data) % expert:
        with pytest.raises(InvalidSpec, match="expert"):
            communicators(split, cards)
        return
    # rank -> its coordinates, tensor fastest, then context, data, pipeline.
    seats = {
        t + tensor * (c + context * (d + data * p)): {"tensor": t, "context": c, "data": d, "pipeline": p}
        for p, d, c, t in product(range(pipeline), range(data), range(context), range(tensor))
    }
    expected: dict[str, dict[tuple, list[int]]] = {
        kind: {} for kind in ("tensor", "context", "data", "pipeline", "expert")
    }
    for rank in sorted(seats):
        seat = seats[rank]
        for kind in seat:
            rest = tuple(value for other, value in seat.items() if other != kind)
            expected[kind].setdefault(rest, []).append(rank)
        through = seat["context"] + context * seat["data"]
        expected["expert"].setdefault((seat["tensor"], through // expert, seat["pipeline"]), []).append(rank)
    found = {each.kind: each for each in communicators(split, cards)}
    for kind, groups in expected.items():
        listed = sorted(groups.values())
        if len(listed[0]) == 1:
            assert kind not in found
        else:
            assert sorted(found[kind].groups()) == listed

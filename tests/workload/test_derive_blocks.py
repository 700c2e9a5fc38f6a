"""Blocks derived from degrees of parallelism, checked against the groups that Megatron's rank order forms."""

from itertools import pairwise
from math import lcm

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.trainingjob import Parallelism
from supernode.topology.profile import Level, Profile
from supernode.workload import InvalidSpec, WorkerShape, derive_blocks


def blocks(profile, cards, per_member, **degrees):
    shape = WorkerShape(cards // per_member, per_member)
    return [(block.level, block.members) for block in derive_blocks(Parallelism(**degrees), shape, profile)]


@pytest.mark.parametrize(
    ("machine", "cards", "per_member", "degrees", "expected"),
    [
        # A tensor group inside a worker needs no block.
        ("ascend-a3-384", 64, 16, {"tensor": 16}, []),
        ("ascend-a3-384", 64, 16, {"tensor": 8}, []),
        # Two workers of 4 make a tensor group of 8, which a node of 16 holds.
        ("ascend-a3-384", 16, 4, {"tensor": 8}, [("node", 2)]),
        # 32 cards would fit a rack of 64, but the rack of an A3 has no fabric: the supernode is the next that has.
        ("ascend-a3-384", 128, 16, {"tensor": 32}, [("supernode", 2)]),
        # The rack of a 950 is a mesh.
        ("ascend-950", 128, 8, {"tensor": 8, "context": 4}, [("rack", 4)]),
        ("ascend-950", 512, 8, {"tensor": 8, "expert": 16}, [("supernode", 16)]),
        ("ascend-950", 512, 8, {"tensor": 16, "context": 2, "expert": 16}, [("rack", 4), ("supernode", 32)]),
        # A group that begins inside a worker ends with a whole one: 12 cards in workers of 8 are kept by runs of 24.
        ("ascend-950", 48, 8, {"tensor": 12}, [("rack", 3)]),
        # Experts over context and data: 2 and 3 ranks are both whole in runs of 6.
        ("nvidia-nvl72", 48, 4, {"tensor": 4, "context": 2, "expert": 3}, [("supernode", 6)]),
        # No level holds 128 cards of NVL72: the tensor groups alone are kept.
        ("nvidia-nvl72", 256, 4, {"tensor": 16, "context": 8}, [("supernode", 4)]),
        # A stage of 32 fits twice into 72, one of 64 does not.
        ("nvidia-nvl72", 128, 4, {"tensor": 4, "pipeline": 4}, [("supernode", 8)]),
        ("nvidia-nvl72", 256, 4, {"tensor": 4, "pipeline": 4}, []),
        ("nvidia-hgx8", 64, 8, {"tensor": 8, "pipeline": 2}, []),
    ],
)
def test_examples(profile, machine, cards, per_member, degrees, expected):
    assert blocks(profile(machine), cards, per_member, **degrees) == expected


def test_a_block_is_a_multiple_of_what_the_profile_asks(profile):
    strict = profile("ascend-950", allocation={"blockMultiple": 32})
    assert blocks(strict, 128, 8, tensor=16) == [("rack", 4)]


@pytest.mark.parametrize(
    ("degrees", "message"),
    [
        ({"tensor": 8, "pipeline": 3}, r"spec\.parallelism: tensor x context x pipeline = 8 x 1 x 3 = 24 .* 64 cards"),
        ({"tensor": 8, "data": 4}, r"times data = 4, is 32, but the job has 64 cards; correct a degree"),
        ({"tensor": 8, "expert": 3}, r"spec\.parallelism\.expert: 3 does not divide context x data = 1 x 8"),
    ],
)
def test_degrees_that_do_not_multiply_to_the_cards_are_refused(profile, degrees, message):
    with pytest.raises(InvalidSpec, match=message):
        blocks(profile("ascend-950"), 64, 8, **degrees)


degree = st.sampled_from([1, 2, 3, 4, 6, 8])


@given(
    fans=st.lists(st.tuples(st.sampled_from([2, 3, 4, 8, 12]), st.booleans()), min_size=1, max_size=4),
    tensor=degree, context=degree, pipeline=degree, data=degree, expert=degree, per_member=degree,
)  # fmt: skip
def test_blocks_keep_the_groups_whole_nest_and_divide(fans, tensor, context, pipeline, data, expert, per_member):
    cards, levels = 1, []
    for index, (fan_out, joined) in enumerate(fans):
        cards *= fan_out
        name = "node" if index == 0 else f"level-{index}"
        levels.append(Level(name, fan_out, cards, "switch" if joined else "none"))
    machine = Profile("any", "example.com/card", tuple(levels))
    total = tensor * context * pipeline * data
    if total % per_member or (context * data) % expert:
        return
    degrees = Parallelism(tensor=tensor, context=context, pipeline=pipeline, data=data, expert=expert)
    found = derive_blocks(degrees, WorkerShape(total // per_member, per_member), machine)
    sizes = [block.members * per_member for block in found]
    order = [machine.level_index(block.level) for block in found]
    assert order == sorted(set(order))
    assert all(outer % inner == 0 for inner, outer in pairwise(sizes))
    assert all(
        total % size == 0 and size <= machine.level(block.level).cards for size, block in zip(sizes, found, strict=True)
    )
    for group in (tensor, tensor * context, tensor * expert):
        home = innermost(
            machine, lcm(tensor * context, group, per_member) if group == tensor * expert else lcm(group, per_member)
        )
        if home is not None:
            kept = [per_member, *(size for size, level in zip(sizes, order, strict=True) if level <= home)]
            assert any(size % group == 0 for size in kept)


def innermost(machine, cards):
    return next((i for i, level in enumerate(machine.levels) if level.fabric != "none" and level.cards >= cards), None)

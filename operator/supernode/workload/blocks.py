"""From the degrees of parallelism to the blocks that must not be torn apart.

Cards are numbered as Megatron-LM numbers ranks (order tp-cp-ep-dp-pp, `megatron/core/parallel_state.py`), fastest
first: tensor, context, data, pipeline; expert groups run through context and data. So each kind of communication
happens inside a run of consecutive cards:

tensor
    the all-reduce of every layer
tensor x context
    the exchange of keys and values of every layer
whole tensor x context and whole tensor x expert groups
    the all-to-all of tokens; the shortest run that tears neither
tensor x context x data
    the gradients of one pipeline stage, once per step

Each run becomes a block of the innermost level, from the node outwards, whose domains nominally hold it and whose
fabric joins them. Two kinds are left out, because a block is a hard demand: a run that no level holds (the fewest
domains are sought all the same), and a pipeline stage that would fill more than half of its domain, where one broken
node in each domain would keep the job waiting for ever.
"""

from math import lcm

from supernode.api.topology import Block
from supernode.api.trainingjob import Parallelism
from supernode.topology.profile import Profile
from supernode.workload.errors import InvalidSpec
from supernode.workload.shape import WorkerShape

FIELD = "spec.parallelism"


def derive_blocks(parallelism: Parallelism, shape: WorkerShape, profile: Profile) -> tuple[Block, ...]:
    """The blocks that keep the groups of `parallelism` whole: inner to outer, each level at most once, sizes nested.

    Raises `InvalidSpec` when the degrees do not multiply to the group's cards.
    """
    data = data_degree(parallelism, shape.cards)
    tensor, context, expert = parallelism.tensor, parallelism.context, parallelism.expert
    dense = tensor * context
    runs = [(tensor, 1), (dense, 1), (lcm(dense, tensor * expert), 1)]
    if parallelism.pipeline > 1:
        runs.append((dense * data, 2))
    blocks: dict[str, Block] = {}
    for cards, at_least in runs:
        if shape.cards_per_member % cards == 0:
            continue  # inside one worker, whose cards are in one node
        # A run may end inside a worker; the smallest block of whole workers and whole runs tears neither.
        block = lcm(cards, shape.cards_per_member, profile.block_multiple)
        level = _home_level(profile, block * at_least)
        if level is not None:
            blocks[level] = Block(level=level, members=block // shape.cards_per_member)
    return tuple(blocks.values())


def data_degree(parallelism: Parallelism, cards: int) -> int:
    """The data-parallel degree: as written, or what the other degrees leave of the cards.

    Raises `InvalidSpec` when the degrees do not multiply to the cards, or expert groups cannot be formed from them.
    """
    context, expert = parallelism.context, parallelism.expert
    model = parallelism.tensor * context * parallelism.pipeline
    product = f"tensor x context x pipeline = {parallelism.tensor} x {context} x {parallelism.pipeline}"
    if parallelism.data is None and cards % model:
        raise InvalidSpec(
            FIELD, f"{product} = {model} does not divide the job's {cards} cards; change a degree or the cards"
        )
    data = parallelism.data or cards // model
    if model * data != cards:
        raise InvalidSpec(
            FIELD,
            f"{product}, times data = {data}, is {model * data}, but the job has {cards} "
            "cards; correct a degree, or leave data out",
        )
    if (context * data) % expert:
        raise InvalidSpec(
            f"{FIELD}.expert",
            f"{expert} does not divide context x data = {context} x {data}; expert groups are formed from these ranks",
        )
    return data


def _home_level(profile: Profile, cards: int) -> str | None:
    """The innermost level from the node outwards whose domain nominally holds `cards` and is joined by a fabric."""
    levels = profile.levels[profile.node_index :]
    return next((level.name for level in levels if level.fabric != "none" and level.cards >= cards), None)

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

from dataclasses import dataclass
from math import lcm

from supernode.api.topology import Block
from supernode.api.trainingjob import Parallelism
from supernode.topology.profile import Profile
from supernode.workload.errors import InvalidSpec
from supernode.workload.shape import WorkerShape

FIELD = "spec.parallelism"


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is done to keep one kind of group whole.

    groups: which, in words. cards: of one of them. level: whose domain each of them lies in, None where nothing demands
    it. members: in a block of that level, 0 where no block is needed. why: the rule that decided.
    """

    groups: str
    cards: int
    level: str | None
    members: int
    why: str


def derive_blocks(parallelism: Parallelism, shape: WorkerShape, profile: Profile) -> tuple[Block, ...]:
    """The blocks that keep the groups of `parallelism` whole: inner to outer, each level at most once, sizes nested.

    Raises `InvalidSpec` when the degrees do not multiply to the group's cards.
    """
    kept = [each for each in explain_blocks(parallelism, shape, profile) if each.level and each.members]
    return tuple({each.level: Block(level=each.level, members=each.members) for each in kept if each.level}.values())


def explain_blocks(parallelism: Parallelism, shape: WorkerShape, profile: Profile) -> tuple[Keeping, ...]:
    """How each kind of group is kept whole, innermost first. Raises as `derive_blocks` does."""
    data = data_degree(parallelism, shape.cards)
    tensor, context, expert = parallelism.tensor, parallelism.context, parallelism.expert
    dense = tensor * context
    runs = [("tensor", tensor, 1), ("tensor x context", dense, 1), ("expert", lcm(dense, tensor * expert), 1)]
    if parallelism.pipeline > 1:
        runs.append(("pipeline stage", dense * data, 2))
    found: dict[int, Keeping] = {}
    for groups, cards, at_least in runs:
        if cards > 1 and cards not in found:
            found[cards] = _keep(groups, cards, at_least, shape, profile)
    return tuple(found.values())


def _keep(groups: str, cards: int, at_least: int, shape: WorkerShape, profile: Profile) -> Keeping:
    if shape.cards_per_member % cards == 0:
        return Keeping(groups, cards, "node", 0, "inside one worker, whose cards are in one node")
    # A run may end inside a worker; the smallest block of whole workers and whole runs tears neither.
    block = lcm(cards, shape.cards_per_member, profile.block_multiple)
    level = _home_level(profile, block * at_least)
    if level is None:
        rule = "no level holds them" if at_least == 1 else "they would fill more than half of any domain"
        return Keeping(groups, cards, None, 0, f"{rule}; the fewest domains are sought all the same")
    return Keeping(groups, cards, level, block // shape.cards_per_member, "the innermost level that holds them")


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

"""Every rule is written twice, in CEL and in Python: the real API server and `parse` agree on any object."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from cluster_helpers import install_crds
from hypothesis import event, given, settings
from hypothesis import strategies as st

from supernode.api.errors import InvalidObject
from supernode.api.reading import parse
from supernode.cluster.errors import BadRequest, Invalid
from supernode.cluster.resources import CARDGROUPS, SUPERNODEPROFILES, TRAININGJOBS, Resource
from supernode.cluster.session import Session
from testbed.bed import Bed

pytestmark = [pytest.mark.cluster, pytest.mark.asyncio(loop_scope="module")]

EXAMPLES = settings(max_examples=150)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def session(bed: Bed) -> AsyncIterator[Session]:
    """A session with the CRDs applied and served."""
    async with Session.connect(bed.kubeconfig) as session:
        await install_crds(session, CARDGROUPS, SUPERNODEPROFILES, TRAININGJOBS)
        yield session


def refused_by_parse(kind: str, obj: dict[str, Any]) -> str | None:
    """The message, or None when `obj` is taken."""
    try:
        parse(kind, obj)
    except InvalidObject as error:
        return str(error)
    return None


async def refused_by_server(session: Session, resource: Resource, obj: dict[str, Any]) -> str | None:
    """The message, or None when `obj` is taken."""
    path = resource.path(obj["metadata"].get("namespace"))
    try:
        await session.request("POST", path, params={"dryRun": "All", "fieldValidation": "Strict"}, body=obj)
    except (BadRequest, Invalid) as error:
        return error.message
    return None


async def agree(session: Session, resource: Resource, obj: dict[str, Any]) -> None:
    """The API server and `parse` both take `obj`, or both refuse it."""
    ours, theirs = refused_by_parse(resource.kind, obj), await refused_by_server(session, resource, obj)
    event(f"{resource.kind} {'refused' if ours else 'taken'}")
    assert (ours is None) == (theirs is None), f"parse: {ours}\nAPI server: {theirs}"


def document(kind: str, namespace: str | None, spec: dict[str, Any], name: str = "any") -> dict[str, Any]:
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": "supernode.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def or_null(**fields: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    """These fields, each now and then left empty."""
    return {name: st.one_of(*[values] * 7, st.none()) for name, values in fields.items()}


def maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with any subset of `fields`."""
    return st.fixed_dictionaries({}, optional=or_null(**fields))


LEVELS = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from(["package", "rack", "supernode"]), "fanOut": st.sampled_from([1, 2, 3, 4, 8, 64])},
        optional=or_null(
            fabric=st.sampled_from(["switch", "mesh", "ring", "torus"]),
            dims=st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=4),
            bandwidth=st.sampled_from([*[1, 2.5] * 5, 0, 0.0001, 1e7]),
            nodeLabel=st.sampled_from(["a", "b", "example.com/c"]),
            positionLabel=st.sampled_from(["at", "a b"]),
        ),
    ),
    max_size=4,
)


def grid(size: int) -> st.SearchStrategy[dict[str, Any]]:
    """The fabric of a level with so many children, often a ring or torus with what belongs to it."""
    torus = {"fabric": "torus", "dims": [1, size]}
    return st.sampled_from([{}, {"fabric": "ring"}, {"fabric": "ring", "positionLabel": "at"}, torus])


ENVIRONMENT = st.dictionaries(
    st.sampled_from(["A", "NCCL_IB_HCA", "a-b", "1A", "SUPERNODE_X", ""]), st.text(max_size=3), max_size=2
)
TOLERATIONS = st.lists(
    maybe(
        key=st.sampled_from(["a", "b.c/d", "node.kubernetes.io/not-ready", "karpenter.sh/disrupted", "a b", ""]),
        operator=st.sampled_from(["Equal", "Exists"]),
        value=st.sampled_from(["x", "", "x y"]),
        effect=st.sampled_from(["NoSchedule", "NoExecute", "PreferNoSchedule", ""]),
    ),
    max_size=2,
)
DEVICES = st.fixed_dictionaries(
    {"driver": st.just("a.b"), "deviceClass": st.just("c")},
    optional=or_null(
        indexAttribute=st.sampled_from(["index", "a.b/index", "a-b"]),
        namePattern=st.sampled_from(["card-{index}", "card"]),
        selectAttribute=st.just("uuid"),
    ),
)


RESOURCES = st.sampled_from(
    ["example.com/card", "v.com/card", "a..b/card", "requests.v.com/card", "kubernetes.io/card"]
)
SELECTORS = st.dictionaries(st.sampled_from(["a", "b.c/d", "b..c/d", "a b"]), st.sampled_from(["", "x"]), max_size=1)


@st.composite
def profiles(draw: st.DrawFn) -> dict[str, Any]:
    """Profiles near the edge of the rules: often legal, and else illegal in one or two ways."""
    levels = draw(LEVELS)
    node = {"name": "node", "fanOut": draw(st.sampled_from([1, 2, 4, 6, 32]))}
    levels.insert(draw(st.integers(0, len(levels))), node)
    if draw(st.booleans()):
        at = levels.index(node)
        for index, level in enumerate(levels):
            level.pop("dims", None)
            level.pop("fabric", None)
            level |= {"name": "node" if index == at else f"l{index}"}
            level.pop("nodeLabel", None)
            level |= {"nodeLabel": f"l{index}"} if index > at else {}
            level |= draw(grid(level["fanOut"])) if index >= at else {}
    allocation = maybe(
        memberSizes=st.lists(st.sampled_from([1, 2, 4, 8, 64]), max_size=3),
        reserve=st.sampled_from([0, 1, 2, 4]),
        matchPositions=st.booleans(),
        shapes=st.lists(st.lists(st.sampled_from([0, 1, 2, 4]), min_size=1, max_size=3), max_size=2),
    )
    pinning = maybe(
        mode=st.sampled_from(["annotation", "env", "dra", "none"]),
        key=st.sampled_from(["A_B", "a.b/c", "SUPERNODE_X", "supernode.io/x", "predicate-time", "a b"]),
        devices=DEVICES,
    )
    spec = {
        "card": {"resource": draw(RESOURCES)} | draw(maybe(perPackage=st.sampled_from([1, 2, 3]))),
        "uplink": draw(st.sampled_from([None, {}, {"bandwidth": None}])),
        "levels": levels,
    }
    parts = {"allocation": allocation, "pinning": pinning, "environment": ENVIRONMENT, "tolerations": TOLERATIONS}
    parts["nodeSelector"] = SELECTORS
    for part in draw(st.lists(st.sampled_from(list(parts)), max_size=2, unique=True)):
        spec[part] = draw(parts[part])
    return document("SuperNodeProfile", None, spec)


TOPOLOGY = maybe(
    required=st.sampled_from(["rack", "supernode"]),
    preferred=st.fixed_dictionaries(
        {"level": st.just("rack")}, optional={"wait": st.sampled_from(["5m", "1h30m", "m", "0s", "1m1h"])}
    ),
    blocks=st.lists(
        st.fixed_dictionaries(
            {"level": st.sampled_from(["node", "rack", "supernode"]), "members": st.sampled_from([0, 1, 2, 3, 4, 16])}
        ),
        max_size=3,
    ),
    shape=st.lists(st.sampled_from([0, 1, 2, 4, 8, 16, 65536]), max_size=5),
    maxSpan=st.dictionaries(st.sampled_from(["rack", "node", "The Rack"]), st.sampled_from([0, 1, 2]), max_size=2),
)

GROUPS = st.builds(
    lambda spec, topology, name: document("CardGroup", "default", spec | topology, name),
    st.fixed_dictionaries(
        {"members": st.sampled_from([0, 1, 2, 4, 12, 16])},
        optional=or_null(
            cardsPerMember=st.sampled_from([0, 1, 8, 1024]),
            profile=st.just("p"),
            resource=st.sampled_from(["v.com/card", "card"]),
            cards_per_member=st.just(1),
        ),
    ),
    maybe(topology=TOPOLOGY),
    st.sampled_from(["any", "a.b", "x" * 63, "x" * 64]),
)

CONTAINER = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"]), "image": st.sampled_from(["i", "j"])},
    optional=or_null(
        args=st.sampled_from([[], ["x"], "x", [None]]),
        env=st.sampled_from([[{"name": "A"}], [{"name": "A", "value": None}]]),
        restartPolicy=st.sampled_from(["Always", "OnFailure"]),
        resources=maybe(limits=st.just({"cpu": None}), claims=st.sampled_from([[{"name": "a"}], [None]])),
        unheardOf=st.just({"a": 1}),
    ),
)

WORKERS = maybe(replicas=st.sampled_from([1, 2, 4]), cardsPerWorker=st.sampled_from([1, 4, 8]))
SPLIT = maybe(
    tensor=st.sampled_from([0, 1, 2, 4]),
    pipeline=st.sampled_from([1, 2]),
    context=st.sampled_from([1, 2]),
    data=st.sampled_from([1, 2, 4]),
)


@st.composite
def jobs(draw: st.DrawFn) -> dict[str, Any]:
    """Jobs with one or two of the parts that rules are about."""
    restarts = st.sampled_from(["Never", "OnFailure", "Always"])
    pod = draw(maybe(nodeName=st.sampled_from(["", "n1"]), hostNetwork=st.booleans(), restartPolicy=restarts))
    pod["containers"] = draw(st.lists(CONTAINER, min_size=1, max_size=2))
    pod |= draw(maybe(initContainers=st.lists(CONTAINER, max_size=2)))
    meta = draw(maybe(labels=st.sampled_from([{}, {"a": None}]), creationTimestamp=st.none()))
    workers = draw(WORKERS) | {"template": {"metadata": meta, "spec": pod}}
    spec: dict[str, Any] = {"workers": workers} | draw(maybe(priority=st.just(1), suspend=st.just(False)))
    if workers.get("replicas") is None or draw(st.integers(0, 9)) == 0:
        spec["cards"] = draw(st.sampled_from([8, 12, 16]))
    part = draw(st.sampled_from(["topology", "parallelism", "name", "none"]))
    if part == "topology":
        spec["topology"] = draw(TOPOLOGY)
    if part == "parallelism":
        spec["parallelism"] = draw(SPLIT)
    name = draw(st.sampled_from(["3d", "a-1", "a" * 52, "a" * 53])) if part == "name" else "any"
    return document("TrainingJob", "default", spec, name)


@EXAMPLES
@given(obj=profiles())
async def test_profiles(session: Session, obj: dict[str, Any]) -> None:
    """Levels, labels, tori, sizes, reserve, pinning."""
    await agree(session, SUPERNODEPROFILES, obj)


@EXAMPLES
@given(obj=GROUPS)
async def test_groups(session: Session, obj: dict[str, Any]) -> None:
    """Members and blocks."""
    await agree(session, CARDGROUPS, obj)


@EXAMPLES
@given(obj=jobs())
async def test_jobs(session: Session, obj: dict[str, Any]) -> None:
    """Cards or replicas, blocks, parallelism, names, templates."""
    await agree(session, TRAININGJOBS, obj)

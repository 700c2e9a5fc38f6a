"""Golden pods, and what must survive of the user's template whatever it says."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from supernode.api.reading import parse
from supernode.api.trainingjob import Runtime
from supernode.topology.node import Member
from supernode.topology.profile import Profile
from supernode.workload import InvalidSpec, PlacedGroup, render_claims, render_files, render_pod, render_service

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.yaml"))


def plain(**spec):
    """A machine of nodes of eight cards, which differs in `spec`."""
    shape = {"card": {"resource": "example.com/card"}, "levels": [{"name": "node", "fanOut": 8}]}
    parsed = parse("SuperNodeProfile", {"metadata": {"name": "any"}, "spec": {**shape, **spec}})
    return Profile.from_spec("any", parsed.spec)


PLAIN = plain()


def render(job, profile=PLAIN, *, cards=0xFF):
    """Rank 3 of 4, on node n3 with these cards."""
    members = tuple(Member(rank, "sn", f"n{rank}", cards, {"node": f"n{rank}"}) for rank in range(4))
    group = PlacedGroup(job, "91ab", profile, members)
    return render_pod(group, 3, render_files(group), predicate_time_ns=1)


def told(pod, files=None):
    """The variables of the first container as the kubelet makes them: of files, and with those before them put in."""
    values = {}
    for each in pod["spec"]["containers"][0]["env"]:
        reference = each.get("valueFrom", {}).get("configMapKeyRef")
        text = each.get("value") if reference is None else files and files.plain[reference["key"]]
        values[each["name"]] = re.sub(r"\$\((\w+)\)", lambda name: values.get(name[1], name[0]), text or "")
    return values


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_pods(path, profile, placed):
    """A file holds the job, where it was placed, and what comes of it: one rank's pod, the Service, the files, and the
    claims where devices are claimed."""
    given_, *rendered = yaml.safe_load_all(path.read_text())
    machine = profile(given_["profile"], **given_.get("profileChanges", {}))
    job = parse("TrainingJob", given_["job"])
    group = placed(job, machine, *given_["placement"])
    files = render_files(group)
    claims = render_claims(group, given_["rank"], given_.get("devices", {}))
    pod = render_pod(group, given_["rank"], files, predicate_time_ns=1789000000000000000, claims=claims)
    assert [pod, render_service(job), *(files.config_maps() if files.names else ()), *claims] == rendered


def test_rendering_is_repeatable_and_leaves_the_job_alone(job):
    template = {"initContainers": [{"name": "init", "image": "i"}], "affinity": {"nodeAffinity": {}}}
    one, before = job(template, cards=32), job(template, cards=32)
    assert render(one) == render(one)
    assert one == before


def test_the_master_is_rank_0_under_the_service(job):
    env = told(render(job(cards=32)))
    service = render_service(job(cards=32))["metadata"]
    assert env["SUPERNODE_MASTER_ADDR"] == f"llama-0.{service['name']}.{service['namespace']}.svc"


def test_one_worker_hosts_the_store_of_torchruns_elastic_rendezvous(job, profile, placed):
    group = placed(job(cards=32, runtime="pytorch"), profile("ascend-a3-384"))
    pods = [render_pod(group, rank, render_files(group), predicate_time_ns=1) for rank in range(len(group.members))]
    said = [v["value"] for pod in pods for v in pod["spec"]["containers"][0]["env"] if v["name"] == "PET_RDZV_CONF"]
    assert said == ["is_host=true"] + ["is_host=false"] * (len(pods) - 1)


@pytest.mark.parametrize(
    ("cards", "hosts"),
    [
        (32, [{"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"value": "llama-0.llama.team-a.svc"}]),
        (16, [{"value": "localhost"}]),
    ],
)
def test_the_scheduler_of_mindspore_knows_itself_by_its_address(job, profile, placed, cards, hosts):
    """msrun goes by whether the address it finds is its own; under a name it might find an old one."""
    group = placed(job(cards=cards, runtime="mindspore"), profile("ascend-a3-384"))
    pods = [render_pod(group, rank, render_files(group), predicate_time_ns=1) for rank in range(len(group.members))]
    said = [v for pod in pods for v in pod["spec"]["containers"][0]["env"] if v["name"] == "MS_SCHED_HOST"]
    assert said == [{"name": "MS_SCHED_HOST", **host} for host in hosts]


def test_cards_go_to_the_container_that_names_them_else_to_the_first(job):
    asks = {"name": "second", "image": "i", "resources": {"limits": {"example.com/card": 8, "cpu": "4"}}}
    pod = render(job({"containers": [{"name": "first", "image": "i"}, asks]}, cards=32))
    first, second = pod["spec"]["containers"]
    assert "resources" not in first
    assert second["resources"] == {
        "limits": {"example.com/card": "8", "cpu": "4"},
        "requests": {"example.com/card": "8"},
    }


@pytest.mark.parametrize("kind", ["containers", "initContainers"])
def test_two_containers_cannot_both_hold_the_cards(job, kind):
    resources = {"limits": {"example.com/card": "8"}}
    template = {"containers": [{"name": "first", "image": "i", "resources": resources}]}
    template.setdefault(kind, []).append({"name": "other", "image": "i", "resources": resources})
    with pytest.raises(InvalidSpec, match=rf"template\.spec\.{kind}\[\d\]\.resources: names example.com/card"):
        render(job(template, cards=32))


@pytest.mark.parametrize("none", ["0", 0])
def test_who_asks_for_none_gets_no_cards(job, none):
    asked = [{"limits": {"example.com/card": none}, "requests": {"cpu": "1"}}, {"limits": {"example.com/card": "8"}}]
    containers = [{"name": name, "image": "i", "resources": each} for name, each in zip("ab", asked, strict=True)]
    spec = render(job({"containers": containers, "initContainers": [containers[0] | {"name": "c"}]}, cards=32))["spec"]
    assert [each["resources"] for each in spec["initContainers"]] == [asked[0]]
    assert [each["resources"]["limits"]["example.com/card"] for each in spec["containers"]] == [none, "8"]
    alone = render(job({"containers": containers[:1]}, cards=32))["spec"]["containers"][0]["resources"]
    count = {"example.com/card": "8"}
    assert alone == {"limits": count, "requests": {"cpu": "1"} | count}


@pytest.mark.parametrize(
    ("network", "policy"),
    [
        ({}, None),
        ({"hostNetwork": False}, None),
        ({"hostNetwork": True}, "ClusterFirstWithHostNet"),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirst"}, "ClusterFirstWithHostNet"),
        ({"hostNetwork": True, "dnsPolicy": "None"}, "None"),
        ({"hostNetwork": True, "dnsPolicy": "Default"}, "Default"),
        ({"dnsPolicy": "ClusterFirst"}, "ClusterFirst"),
        ({"dnsPolicy": "Default"}, "Default"),
    ],
)
def test_members_find_each_other_by_name_from_the_nodes_network_too(job, network, policy):
    assert render(job(network, cards=32))["spec"].get("dnsPolicy") == policy


def test_a_value_of_the_users_wins_over_ours(job):
    env = [{"name": "SUPERNODE_RANK", "value": "mine"}, {"name": "MASTER_PORT", "valueFrom": {"fieldRef": {}}}]
    containers = [{"name": "main", "image": "i", "env": env}]
    rendered = render(job({"containers": containers}, cards=32, runtime="pytorch"))["spec"]["containers"][0]["env"]
    assert [variable for variable in rendered if variable["name"] in ("SUPERNODE_RANK", "MASTER_PORT")] == env
    names = [variable["name"] for variable in rendered]
    assert len(names) == len(set(names))
    assert names.index("SUPERNODE_JOB") < names.index("MASTER_PORT") < names.index("PET_MASTER_PORT")


def test_variables_of_the_machine_stand_back_behind_all_others(job, profile):
    machine = profile(
        "nvidia-hgx8",
        environment={"NCCL_CROSS_NIC": "0", "NCCL_DEBUG": "WARN", "MASTER_PORT": "1", "PET_MASTER_PORT": "1"},
    )
    env = [{"name": "NCCL_DEBUG", "value": "INFO"}]
    described = job({"containers": [{"name": "main", "image": "i", "env": env}]}, cards=32, runtime="pytorch")
    pod = render(described, machine)
    found = told(pod)
    assert len(found) == len(pod["spec"]["containers"][0]["env"])
    assert (found["NCCL_CROSS_NIC"], found["NCCL_DEBUG"]) == ("0", "INFO")
    assert (found["MASTER_PORT"], found["PET_MASTER_PORT"]) == ("29500", "29500")


def test_variables_of_the_machine_refer_to_ours_and_the_users_to_them(job, profile):
    machine = profile("nvidia-hgx8", environment={"PLACE": "$(SUPERNODE_RANK) of $(NNODES)"})
    env = [{"name": "LOG", "value": "worker $(PLACE)"}]
    described = job({"containers": [{"name": "main", "image": "i", "env": env}]}, cards=32, runtime="pytorch")
    assert told(render(described, machine))["LOG"] == "worker 3 of 4"


@pytest.mark.parametrize("machine", ["tpu-v4", "tpu-v5p", "tpu-7x"])
@pytest.mark.parametrize(
    ("cards", "hosts"),
    [(4, "localhost"), (12, "llama-0.llama.team-a.svc,llama-1.llama.team-a.svc,llama-2.llama.team-a.svc")],
    ids=["one host", "three hosts"],
)
def test_libtpu_is_told_all_hosts_of_its_slice_and_which_of_them_it_is_on(job, profile, placed, machine, cards, hosts):
    group = placed(job(cards=cards, runtime="jax"), profile(machine))
    files = render_files(group)
    for rank in range(len(group.members)):
        env = told(render_pod(group, rank, files, predicate_time_ns=1), files)
        assert (env["TPU_WORKER_ID"], env["TPU_WORKER_HOSTNAMES"]) == (str(rank), hosts)


@pytest.mark.parametrize(
    ("pinning", "cards", "sure"),
    [
        ({"mode": "none"}, 0b1100, None),
        ({"mode": "none"}, 0xFF, "0-7"),
        ({"mode": "annotation", "key": "example.com/cards"}, 0b1100, "2-3"),
        ({"mode": "env", "key": "VISIBLE"}, 0b1100, "2-3"),
        ({"mode": "dra", "devices": {"driver": "d.io", "deviceClass": "c", "indexAttribute": "i"}}, 0b1100, "2-3"),
    ],
)
def test_a_worker_is_told_its_cards_where_it_surely_gets_them(job, profile, pinning, cards, sure):
    pod = render(job(cards=4 * cards.bit_count()), profile("nvidia-hgx8", pinning=pinning), cards=cards)
    env = told(pod)
    assert env.get("SUPERNODE_CARDS") == sure
    assert env["SUPERNODE_CARDS_PER_MEMBER"] == str(cards.bit_count())
    assert pod["metadata"]["annotations"]["supernode.io/cards"] == (sure or "2-3"), "the books are kept all the same"


def test_the_pinning_variable_is_not_the_users_to_set(job, profile):
    env = [{"name": "VISIBLE", "value": "all"}]
    machine = profile("ascend-950", pinning={"mode": "env", "key": "VISIBLE"})
    rendered = render(job({"containers": [{"name": "main", "image": "i", "env": env}]}, cards=8), machine, cards=0b1100)
    assert [v for v in rendered["spec"]["containers"][0]["env"] if v["name"] == "VISIBLE"] == [
        {"name": "VISIBLE", "value": "2,3"}
    ]


def test_a_term_that_matches_nothing_still_matches_nothing(job):
    required = {"nodeSelectorTerms": [{}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    pod = render(job({"affinity": affinity}, cards=32))
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    here = [{"key": "metadata.name", "operator": "In", "values": ["n3"]}]
    assert terms == [{}, {"matchExpressions": [{"key": "zone", "operator": "Exists"}], "matchFields": here}]


OF_THE_RESOURCE = {"key": "example.com/card", "operator": "Exists", "effect": "NoSchedule"}
OF_A_TEAM = {"key": "team", "operator": "Equal", "value": "a", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("own", "of_profile", "rendered"),
    [
        (None, [], [OF_THE_RESOURCE]),
        ([], [OF_A_TEAM], [OF_THE_RESOURCE, OF_A_TEAM]),
        ([{"key": "mine", "value": "x"}], [], [{"key": "mine", "value": "x"}, OF_THE_RESOURCE]),
        ([OF_THE_RESOURCE], [], [OF_THE_RESOURCE]),
        ([], [OF_THE_RESOURCE], [OF_THE_RESOURCE]),
        (
            [{"key": "team", "value": "a", "effect": "NoSchedule"}],
            [OF_A_TEAM],
            [{"key": "team", "value": "a", "effect": "NoSchedule"}, OF_THE_RESOURCE],
        ),
        (
            [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}],
            [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
            [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60}, OF_THE_RESOURCE],
        ),
        (
            [{"key": "k", "operator": "Exists", "effect": "NoExecute"}],
            [{"key": "k", "operator": "Exists"}],
            [
                {"key": "k", "operator": "Exists", "effect": "NoExecute"},
                OF_THE_RESOURCE,
                {"key": "k", "operator": "Exists"},
            ],
        ),
        ([], [{"operator": "Exists"}], [OF_THE_RESOURCE, {"operator": "Exists"}]),
        ([], [{"key": "k"}], [OF_THE_RESOURCE, {"key": "k", "operator": "Equal"}]),
    ],
)
def test_a_pod_tolerates_what_its_template_and_its_profile_say(job, own, of_profile, rendered):
    pod = render(job({"tolerations": own}, cards=32), plain(tolerations=of_profile))
    assert pod["spec"]["tolerations"] == rendered


def test_a_pod_with_claims_tolerates_the_taint_that_no_admission_plugin_would(job):
    devices = {"driver": "card.example.com", "deviceClass": "card", "indexAttribute": "index"}
    pod = render(job(cards=32), plain(pinning={"mode": "dra", "devices": devices}))
    assert pod["spec"]["tolerations"] == [OF_THE_RESOURCE]


OURS = {"containers", "initContainers", "volumes", "restartPolicy", "affinity", "hostname", "subdomain", "dnsPolicy"}
RUNS = ("env", "resources", "volumeMounts", "command", "args")
texts = st.text("abc./-", max_size=6)
words = st.text("abcXYZ", min_size=1, max_size=5)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-5, 5), texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
)
structs = st.dictionaries(words, values, max_size=3)
pods = st.fixed_dictionaries(
    {},
    optional={
        "tolerations": st.lists(structs, max_size=2),
        "volumes": st.lists(structs, max_size=2),
        "nodeSelector": st.dictionaries(words, texts, max_size=2),
        "securityContext": structs,
        "schedulerName": texts,
        "hostNetwork": st.booleans(),
        "terminationGracePeriodSeconds": st.integers(0, 60),
        "aFieldOfTomorrow": values,
    },
)
containers = st.builds(
    lambda rest, limits, env: {
        **rest,
        "image": "i",
        "resources": {"limits": limits},
        "env": [{"name": name, "value": value} for name, value in env.items()],
    },
    st.fixed_dictionaries(
        {},
        optional={
            "command": st.lists(texts, max_size=2),
            "ports": st.lists(structs, max_size=2),
            "volumeMounts": st.lists(structs, max_size=2),
            "envFrom": st.lists(structs, max_size=2),
            "livenessProbe": structs,
            "tty": st.booleans(),
            "aFieldOfTomorrow": values,
        },
    ),
    st.dictionaries(st.sampled_from(["cpu", "memory", "other.com/card"]), st.sampled_from(["1", "2"]), max_size=2),
    st.dictionaries(st.sampled_from(["A", "B", "SUPERNODE_RANK", "RANK"]), st.text("xyz", max_size=3), max_size=3),
)


@given(
    pod=pods,
    workers=st.lists(containers, min_size=1, max_size=3),
    inits=st.lists(containers, max_size=2),
    labels=st.dictionaries(
        st.sampled_from(["app", "team", "supernode.io/rank"]), st.text("abc", max_size=4), max_size=3
    ),
    runtime=st.sampled_from(list(Runtime)),
)
def test_what_the_user_wrote_survives(job, pod, workers, inits, labels, runtime):
    named = [{"name": f"c{index}", **container} for index, container in enumerate(workers)]
    template = {**pod, "containers": named, "initContainers": [{"name": f"i{i}", **c} for i, c in enumerate(inits)]}
    base = job(template, cards=32, runtime=runtime).model_dump(mode="json", by_alias=True, exclude_none=True)
    base["spec"]["workers"]["template"] = {"metadata": {"labels": labels}, "spec": template}
    rendered = render(parse("TrainingJob", base))
    theirs = {key: value for key, value in pod.items() if key != "volumes"}
    theirs["tolerations"] = [*theirs.get("tolerations", ()), OF_THE_RESOURCE]
    assert {key: value for key, value in rendered["spec"].items() if key not in OURS} == theirs
    volumes = pod.get("volumes", [])
    assert rendered["spec"]["volumes"][: len(volumes)] == volumes
    assert (
        labels.items() - {("supernode.io/rank", labels.get("supernode.io/rank"))}
        <= rendered["metadata"]["labels"].items()
    )
    assert rendered["metadata"]["labels"]["supernode.io/rank"] == "3"
    for kind in ("containers", "initContainers"):
        theirs_last = rendered["spec"][kind][len(rendered["spec"][kind]) - len(template[kind]) :]
        for wrote, got in zip(template[kind], theirs_last, strict=True):
            assert {k: v for k, v in got.items() if k not in RUNS} == {k: v for k, v in wrote.items() if k not in RUNS}
            assert got["volumeMounts"][: len(wrote.get("volumeMounts", []))] == wrote.get("volumeMounts", [])
            if runtime != "mpi" or kind == "initContainers" or got is not rendered["spec"]["containers"][0]:
                assert [got.get(part) for part in ("command", "args")] == [
                    wrote.get(part) for part in ("command", "args")
                ]
            assert wrote["resources"]["limits"].items() <= got["resources"]["limits"].items()
            assert [variable for variable in got["env"] if variable in wrote["env"]] == wrote["env"]
            assert len({variable["name"] for variable in got["env"]}) == len(got["env"])

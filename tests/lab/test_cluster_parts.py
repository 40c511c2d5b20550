"""What a cluster consists of, and the files it is given."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from hack.lab import configs, images, stages
from hack.lab.components import Catalog, Nodes
from hack.lab.layout import Layout
from hack.lab.pki import Pki
from hack.lab.supervisor import STOP_ORDER

LAYOUT = Layout("x")
PROGRAMS = {name: Path(f"/cache/{name}") for name in ("kubernetes", "kwok", "coredns")}


def names(nodes: Nodes) -> list[str]:
    return [component.name for component in Catalog(LAYOUT, Pki(LAYOUT.pki), PROGRAMS).components(nodes)]


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (Nodes.NONE, {"etcd", "kube-apiserver", "kube-controller-manager"}),
        (Nodes.KWOK, {"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}),
    ],
)
def test_no_more_runs_than_the_nodes_need(nodes: Nodes, expected: set[str]) -> None:
    assert set(names(nodes)) == expected


def test_every_component_has_its_place_in_the_order_of_stopping() -> None:
    stopped = [name for group, _ in STOP_ORDER for name in group]
    assert set(stopped) == {name for nodes in Nodes for name in names(nodes)}
    assert stopped.index("kubelet") < stopped.index("kube-apiserver") < stopped.index("etcd")


def test_the_kubelet_keeps_everything_below_the_clusters_own_paths() -> None:
    kubelet = json.loads(configs.kubelet(LAYOUT, Pki(LAYOUT.pki)))
    assert kubelet["cgroupRoot"] == "/gastown-lab-x"
    assert kubelet["podLogsDir"].startswith(str(LAYOUT.data))
    assert kubelet["podPidsLimit"] > 0


@pytest.mark.parametrize(("may", "restrict"), [(True, "false"), (False, "true")])
def test_oom_scores_are_left_alone_where_they_cannot_be_lowered(may: bool, restrict: str) -> None:
    assert f"restrict_oom_score_adj = {restrict}\n" in configs.containerd(LAYOUT, lower_oom_scores=may)


def test_the_audit_log_has_every_write_and_no_read() -> None:
    rules = json.loads(configs.audit_policy())["rules"]
    assert rules[-1] == {"level": "Metadata"}
    assert {"level": "None", "verbs": ["get", "list", "watch"]} in rules


def test_names_outside_of_the_cluster_do_not_exist() -> None:
    inside, outside = configs.corefile(LAYOUT, ["10.250.0.1", "192.0.2.53"]).split(".:53 {")
    assert "kubernetes cluster.local" in inside
    assert "NXDOMAIN" in outside
    assert all("bind 10.250.0.1 192.0.2.53\n" in block for block in (inside, outside))


def test_a_program_image_holds_the_program_and_runs_it() -> None:
    with tarfile.open(
        fileobj=io.BytesIO(images.program_image(b"\x7fELF", "pause", "localhost/pause:1"))
    ) as archive:
        (manifest,) = json.loads(_content(archive, "manifest.json"))
        config = json.loads(_content(archive, manifest["Config"]))
        with tarfile.open(fileobj=io.BytesIO(_content(archive, manifest["Layers"][0]))) as layer:
            assert _content(layer, "pause") == b"\x7fELF"
            assert layer.getmember("pause").mode == 0o755
    assert manifest["RepoTags"] == ["localhost/pause:1"]
    assert config["config"]["Entrypoint"] == ["/pause"]


def test_equal_programs_make_equal_images() -> None:
    assert images.program_image(b"1", "a", "b:1") == images.program_image(b"1", "a", "b:1")


def test_fake_nodes_hold_ten_thousand_pods() -> None:
    nodes = stages.fake_nodes()
    assert sum(int(node["status"]["capacity"]["pods"]) for node in nodes) == 10_000
    assert len({node["metadata"]["name"] for node in nodes}) == 10


def test_kwok_is_given_one_step_to_running_and_one_to_the_end() -> None:
    documents = [json.loads(document) for document in stages.kwok_configuration().split("\n---\n")]
    steps = {
        document["metadata"]["name"]: document["spec"]["next"] for document in documents if "spec" in document
    }
    assert set(steps) == {"pod-running", "pod-deleted"}
    assert "phase: Running" in steps["pod-running"]["statusTemplate"]


def _content(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    assert file
    return file.read()

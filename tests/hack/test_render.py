"""The manifests of the deployment, and the images that `make deploy` puts into them."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown_operator.agents.prices import parse_overrides
from hack.render import (
    DEFAULTS,
    ENTRUSTED,
    ENTRUSTED_IN,
    FILES,
    MANIFESTS,
    POLICIES,
    SCOPED,
    SECURED,
    image,
    main,
    namespaces,
    render,
    secret,
)

ROOT = Path(__file__).parents[2]


def objects(text: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (document["kind"], document["metadata"]["name"]): document for document in yaml.safe_load_all(text)
    }


def operator_container(text: str) -> dict[str, Any]:
    deployment = objects(text)["Deployment", "gastown-operator"]
    container: dict[str, Any] = deployment["spec"]["template"]["spec"]["containers"][0]
    return container


def ran(*words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, str(ROOT / "hack/render.py"), *words]
    return subprocess.run(program, check=False, capture_output=True, text=True)


def rules() -> Iterator[dict[str, Any]]:
    for name in ("gastown-operator", "gastown-operator-work"):
        yield from objects(render({}))["ClusterRole", name]["rules"]


def test_every_manifest_is_deployed() -> None:
    assert sorted(FILES + SCOPED + SECURED + POLICIES + ENTRUSTED + ENTRUSTED_IN) == sorted(
        path.name for path in MANIFESTS.glob("*.yaml")
    )


def test_given_images_replace_the_default_ones_and_nothing_else() -> None:
    container = operator_container(
        render({"operator": "example.com/op:1", "workload": "example.com/w@sha256:" + "a" * 64})
    )
    assert container["image"] == "example.com/op:1"
    assert container["args"] == [
        "--workload-image=example.com/w@sha256:" + "a" * 64,
        f"--agent-image={DEFAULTS['agent']}",
        "--leader-elect",
    ]
    assert render({}) == render(DEFAULTS)


def test_an_image_that_is_named_like_another_default_is_not_replaced_again() -> None:
    container = operator_container(render({"operator": DEFAULTS["workload"], "workload": "other:1"}))
    assert container["image"] == DEFAULTS["workload"]


@pytest.mark.parametrize("text", ["", "a b", "a\nb: c", "-x", "x:1 # y", 'x"'])
def test_what_is_no_name_of_an_image_does_not_get_into_yaml(text: str) -> None:
    with pytest.raises(Exception, match="is no name of an image"):
        image(text)


def test_one_image_of_its_own_is_refused_before_pods_look_for_the_others() -> None:
    refused = ran("--operator", "example.com/op:1")
    assert not refused.stdout
    assert "give IMG=, WORKLOAD_IMG= and AGENT_IMG=" in refused.stderr
    assert not ran().returncode


def test_further_options_of_the_operator_arrive_as_they_were_written() -> None:
    told = """--no-proxy "a,b" --oauth-client-id 'x: $(Y) # " localhost/gastown-agent:dev' --pod-start-timeout=9"""
    arguments = operator_container(ran("--args", told).stdout)["args"]
    assert [each.replace("$$", "$") for each in arguments[2:]] == ["--leader-elect", *shlex.split(told)]
    assert "x: $$(Y)" in " ".join(arguments)  # the kubelet would put a variable's value there


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("--htps-proxy http://p:1", "unrecognized arguments: --htps-proxy"),
        ("--https-prox http://p:1", "unrecognized arguments: --https-prox"),
        ("--pod-start-timeout never", "argument --pod-start-timeout"),
        ("--https-proxy", "expected one argument"),
        ("--https-proxy http://user:word@p:1", "no place for a password"),
        ("--namespaces=a", "make deploy NAMESPACES="),
        ("--model-prices x", "make deploy MODEL_PRICES="),
        ("--no-proxy 'a", "No closing quotation"),
        ("--oauth-client-id 'a\nb'", "not printable ASCII"),
        ("--version", "only prints"),
        ("--", "unrecognized arguments"),
    ],
)
def test_an_option_with_which_the_operator_would_not_start_is_refused(
    capsys: pytest.CaptureFixture[str], told: str, why: str
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([f"--args= {told}"])
    assert why in capsys.readouterr().err


def test_prices_are_mounted_and_a_change_of_them_makes_new_pods(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    texts = []
    for price in ('{"é\\u2028": {"input": 3, "output": "15"}}', '{"other": {"input": 3, "output": 0.15}}'):
        file.write_text(price)
        text = ran("--model-prices", str(file), "--metrics-secret", "tls").stdout
        config = objects(text)["ConfigMap", "gastown-model-prices"]
        assert parse_overrides(config["data"]["prices.json"]) == parse_overrides(price)
        texts.append(text)
    templates = [objects(text)["Deployment", "gastown-operator"]["spec"]["template"] for text in texts]
    noted = [template["metadata"]["annotations"] for template in templates]
    assert noted[0] != noted[1]
    assert not any("gastown.io/" in name for name in noted[0]), (
        "the admission policies keep these for polecats"
    )
    container = operator_container(texts[0])
    assert {each["name"] for each in templates[0]["spec"]["volumes"]} == {
        "metrics-certificate",
        "model-prices",
    }
    place = next(each["mountPath"] for each in container["volumeMounts"] if each["name"] == "model-prices")
    assert f"--model-prices={place}/prices.json" in container["args"]


def test_prices_that_no_gateway_could_read_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "prices.json"
    file.write_text('{"m": {"input": 3}}')
    assert "lacks output" in ran("--model-prices", str(file)).stderr
    assert "No such file" in ran("--model-prices", str(tmp_path / "absent")).stderr


def test_removing_the_operator_leaves_the_namespace_with_the_users_work() -> None:
    program = [sys.executable, str(ROOT / "hack/render.py"), "--removable"]
    removed = objects(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    assert ("Namespace", "gastown-system") in removed
    assert ("Namespace", "gastown-workers") not in removed


def test_every_admission_policy_is_bound_to_refuse_what_it_forbids_and_is_found_by_undeploy() -> None:
    program = [sys.executable, str(ROOT / "hack/render.py"), "--policies"]
    policies = objects(subprocess.run(program, check=True, capture_output=True, text=True).stdout)
    names = {name for kind, name in policies if kind == "ValidatingAdmissionPolicy"}
    assert names == {name for kind, name in policies if kind == "ValidatingAdmissionPolicyBinding"}
    for name in names:
        spec = policies["ValidatingAdmissionPolicyBinding", name]["spec"]
        assert spec == {"policyName": name, "validationActions": ["Deny"]}
    selected = {"app.kubernetes.io/name": "gastown-operator", "app.kubernetes.io/component": "operator"}
    assert all(document["metadata"]["labels"] == selected for document in policies.values())


def test_an_operator_of_some_namespaces_has_its_rights_in_those_alone() -> None:
    text = render({}, only_in=("team-a", "team-b"))
    bindings = [each for each in yaml.safe_load_all(text) if each["kind"].endswith("RoleBinding")]
    work = [each for each in bindings if each["roleRef"]["name"] == "gastown-operator-work"]
    assert [(each["kind"], each["metadata"]["namespace"]) for each in work] == [
        ("RoleBinding", "team-a"),
        ("RoleBinding", "team-b"),
    ]
    assert "--namespaces=team-a,team-b" in operator_container(text)["args"]
    cluster_wide = objects(text)["ClusterRole", "gastown-operator"]["rules"]
    assert {name for rule in cluster_wide for name in rule["resources"]} == {
        "rigs",
        "rigs/status",
        "namespaces",
    }


def test_protected_metrics_have_a_certificate_and_the_right_to_ask_who_scrapes() -> None:
    text = render({}, metrics_secret="metrics-tls")
    container = operator_container(text)
    directory = container["volumeMounts"][0]["mountPath"]
    assert {"--metrics-secure", f"--metrics-cert-path={directory}"} <= set(container["args"])
    pod = objects(text)["Deployment", "gastown-operator"]["spec"]["template"]["spec"]
    assert pod["volumes"] == [{"name": "metrics-certificate", "secret": {"secretName": "metrics-tls"}}]
    assert ("ClusterRole", "gastown-operator-metrics-access") in objects(text)
    assert ("ClusterRole", "gastown-operator-metrics-access") not in objects(render({}))


@pytest.mark.parametrize("only_in", [(), ("team-a", "team-b")])
def test_an_operator_with_credentials_reaches_these_secrets_and_no_others(only_in: tuple[str, ...]) -> None:
    text = render({}, only_in=only_in, credentials=("claude", "git"))
    assert "--credentials=claude,git" in operator_container(text)["args"]
    roles = [each for each in yaml.safe_load_all(text) if each["kind"] in ("Role", "ClusterRole")]
    found = [rule for role in roles for rule in role["rules"] if "secrets" in rule["resources"]]
    assert [rule["resourceNames"] for rule in found] == [["claude", "git"]] * 2
    bindings = [each for each in yaml.safe_load_all(text) if each["kind"].endswith("RoleBinding")]
    copies = [each for each in bindings if each["roleRef"]["name"] == "gastown-operator-copies"]
    assert tuple(each["metadata"].get("namespace") for each in copies) == (only_in or (None,))


@pytest.mark.parametrize("text", ["", "A", "a b", "a\nb: c", "-a"])
def test_what_is_no_name_of_a_secret_does_not_get_into_yaml(text: str) -> None:
    with pytest.raises(Exception, match="is no name of a Secret"):
        secret(text)


@pytest.mark.parametrize("text", ["", "a,", "A", "a b", "-a", "a\nb: c", "a" * 64])
def test_what_is_no_name_of_a_namespace_does_not_get_into_yaml(text: str) -> None:
    with pytest.raises(Exception, match="is no name of a namespace"):
        namespaces(text)


def test_the_operator_reads_no_secret_and_has_no_wildcard() -> None:
    for rule in rules():
        assert "secrets" not in rule["resources"]
        assert not any("*" in entry for field in rule.values() for entry in field)


def test_the_operator_cannot_run_commands_in_pods() -> None:
    assert {
        resource for rule in rules() for resource in rule["resources"] if resource.startswith("pods/")
    } == set()


def test_both_namespaces_enforce_the_restricted_profile() -> None:
    manifests = objects(render({}))
    for name in ("gastown-system", "gastown-workers"):
        assert (
            manifests["Namespace", name]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            == "restricted"
        )


def test_users_who_may_edit_write_no_rigs() -> None:
    written = {
        resource
        for rule in objects(render({}))["ClusterRole", "gastown-edit"]["rules"]
        for resource in rule["resources"]
    }
    assert written == {"polecats", "convoys", "witnesses", "refineries", "beadstores"}

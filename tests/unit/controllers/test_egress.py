"""What pods are told of proxies and authorities."""

import argparse

import attrs
import pytest

from gastown_operator.command_line import operator_parser
from gastown_operator.controllers.egress import EgressParts, egress_environment
from gastown_operator.controllers.options import egress
from gastown_operator.controllers.settings import Egress
from tests.unit.controllers.objects import SETTINGS


def parts(*arguments: str) -> EgressParts:
    """What the operator's command line comes to."""
    parsed: argparse.Namespace = operator_parser().parse_args(["--workload-image", "w", *arguments])
    return egress_environment(attrs.evolve(SETTINGS, egress=egress(parsed)))


def test_by_default_pods_are_told_nothing() -> None:
    assert parts() == EgressParts()


def test_proxies_are_variables() -> None:
    found = parts("--https-proxy", "http://proxy:3128", "--no-proxy", "localhost,.svc,10.0.0.0/8")
    assert found.env == (
        {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
        {"name": "NO_PROXY", "value": "localhost,.svc,10.0.0.0/8"},
    )
    assert found.volumes == ()


def test_a_proxy_with_a_password_is_named_by_its_secret() -> None:
    found = parts("--proxy-secret", "proxy", "--https-proxy", "http://proxy:3128")
    assert {each["name"] for each in found.env} == {"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}
    assert all(each["valueFrom"]["secretKeyRef"]["name"] == "proxy" for each in found.env)
    assert all(each["valueFrom"]["secretKeyRef"]["optional"] for each in found.env)


def test_an_authority_is_mounted_read_only_and_named() -> None:
    found = parts("--ca-config-map", "company-ca")
    assert found.env == ({"name": "GASTOWN_CA_FILE", "value": "/gastown/ca/ca.crt"},)
    assert found.mounts == ({"name": "ca", "mountPath": "/gastown/ca", "readOnly": True},)
    assert found.volumes[0]["configMap"]["name"] == "company-ca"


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--https-proxy", "http://user:pass@proxy:3128"),
        ("--https-proxy", "socks5://proxy:1080"),
        ("--https-proxy", "proxy:3128"),
        ("--no-proxy", "a;b"),
        ("--ca-config-map", "No"),
        ("--credentials", "a,,b"),
        ("--oauth-token-endpoint", "http://example.com/token"),
        ("--oauth-token-endpoint", "https://user:pass@example.com/token"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_no_password_repeated(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parts(option, value)
    assert "pass@" not in capsys.readouterr().err


def test_settings_without_egress_are_those_of_an_operator_without_options() -> None:
    assert SETTINGS.egress == Egress()

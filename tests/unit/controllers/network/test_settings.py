"""The options of the command line about the network."""

import argparse
from ipaddress import ip_network

import pytest

from gastown_operator.controllers.network.settings import (
    CLUSTER_RANGES,
    NetworkSettings,
    add_options,
    network_settings,
)


def parsed(*words: str) -> NetworkSettings:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_options(parser)
    parser.set_defaults(https_proxy="http://10.1.1.1:3128", http_proxy="", namespaces=("a",))
    return network_settings(parser.parse_args(words))


def test_private_ranges_are_the_clusters_unless_said_otherwise() -> None:
    settings = parsed()
    assert settings == NetworkSettings(
        cluster_ranges=CLUSTER_RANGES, proxies=("http://10.1.1.1:3128",), namespaces=("a",)
    )
    assert ip_network("10.0.0.0/8") in settings.cluster_ranges


def test_ranges_and_the_namespace_of_the_readers_can_be_named() -> None:
    settings = parsed("--cluster-cidrs", "10.9.9.9/8, fd00::/8", "--metrics-namespace", "monitoring")
    assert settings.cluster_ranges == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.metrics_namespace == "monitoring"


@pytest.mark.parametrize(
    "words", [("--cluster-cidrs", "10.0.0.0/33"), ("--cluster-cidrs", "a"), ("--metrics-namespace", "A_b")]
)
def test_what_is_no_range_or_no_namespace_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(argparse.ArgumentError):
        parsed(*words)

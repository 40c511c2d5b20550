"""The options of the operator's command line that say which credentials it has, and how pods reach the outside."""

import argparse
import re
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from gastown_operator.api.names import is_dns_name
from gastown_operator.controllers.credential.settings import (
    DEFAULT_CLIENT_ID,
    DEFAULT_ENDPOINT,
    CredentialSettings,
)
from gastown_operator.controllers.settings import Egress

_HOSTS: Final = re.compile(r"[\w.*:/,-]*", re.ASCII)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add them to a command line."""
    group = parser.add_argument_group("credentials")
    group.add_argument(
        "--credentials",
        type=_names,
        default=(),
        metavar="A,B",
        help="Secrets in the operator's own namespace that it mirrors to where rigs name them, and whose OAuth tokens it refreshes; "
        "it reads no others (default: none)",
    )
    group.add_argument(
        "--oauth-token-endpoint",
        type=endpoint,
        default=DEFAULT_ENDPOINT,
        metavar="URL",
        help=f"where OAuth tokens are refreshed (default: {DEFAULT_ENDPOINT})",
    )
    group.add_argument(
        "--oauth-client-id",
        default=DEFAULT_CLIENT_ID,
        metavar="ID",
        help="the client that the OAuth tokens were issued to (default: Claude Code's)",
    )
    group = parser.add_argument_group("how git and gateways in pods reach the outside")
    for name, what in (("https", "https"), ("http", "http")):
        group.add_argument(
            f"--{name}-proxy",
            type=_proxy,
            default="",
            metavar="URL",
            help=f"proxy for {what} (default: none)",
        )
    group.add_argument(
        "--no-proxy",
        type=_hosts,
        default="",
        metavar="A,B",
        help="hosts, domains and networks that are reached directly",
    )
    group.add_argument(
        "--proxy-secret",
        type=_name_or_none,
        default="",
        metavar="NAME",
        help="a Secret in the work namespace with HTTPS_PROXY, HTTP_PROXY and NO_PROXY, for proxies that want a password",
    )
    group.add_argument(
        "--ca-config-map",
        type=_name_or_none,
        default="",
        metavar="NAME",
        help="a ConfigMap in the work namespace whose ca.crt is trusted besides the system's authorities",
    )


def credential_settings(arguments: argparse.Namespace, namespace: str) -> CredentialSettings:
    """What the arguments say of credentials; `namespace` is the operator's own."""
    return CredentialSettings(
        names=arguments.credentials,
        namespace=namespace,
        endpoint=arguments.oauth_token_endpoint,
        client_id=arguments.oauth_client_id,
    )


def egress(arguments: argparse.Namespace) -> Egress:
    """What the arguments say of proxies and authorities."""
    return Egress(
        https_proxy=arguments.https_proxy,
        http_proxy=arguments.http_proxy,
        no_proxy=arguments.no_proxy,
        proxy_secret=arguments.proxy_secret,
        ca_config_map=arguments.ca_config_map,
    )


def endpoint(text: str) -> str:
    """Return `text` if a refresh token may be sent there. Raises ArgumentTypeError."""
    try:
        url = urlsplit(text)
        safe = url.scheme == "https" or (url.scheme == "http" and _is_loopback(url.hostname or ""))
        complete = bool(url.hostname) and url.username is None and not url.fragment and url.port != 0
    except ValueError:
        safe = complete = False
    if not (safe and complete):
        raise argparse.ArgumentTypeError("this is no https URL to which a token may be sent")
    return text


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_name(name.strip()) for name in text.split(","))) if text.strip() else ()


def _name(text: str) -> str:
    if not is_dns_name(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an object")
    return text


def _name_or_none(text: str) -> str:
    """A name, or nothing: argparse reads the default through this too."""
    return _name(text) if text else ""


def _proxy(text: str) -> str:
    """The URL of a proxy; one with a password would show it to everybody who may see the operator's Deployment."""
    if not text:
        return ""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.path in ("", "/")
        hidden = url.username is None
        usable = usable and url.port != 0 and not url.query and not url.fragment
    except ValueError:
        usable = hidden = False
    if not hidden and usable:
        raise argparse.ArgumentTypeError(
            "an argument is no place for a password; put it into a Secret and name that with --proxy-secret"
        )
    if not usable:
        raise argparse.ArgumentTypeError("this is no URL of a proxy, such as http://proxy.example.com:3128")
    return text


def _hosts(text: str) -> str:
    if not _HOSTS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of hosts, domains and networks")
    return text

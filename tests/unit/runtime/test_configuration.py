"""Finding the API server, and saying in one line why it cannot be found."""

import base64
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from gastown_operator.runtime.configuration import (
    TOKEN_PERIOD,
    NoCredentials,
    StaticToken,
    from_service_account,
    load_connection,
)
from gastown_operator.runtime.errors import ConfigurationError
from gastown_operator.runtime.testing import VirtualClock


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    directory = tmp_path_factory.mktemp("tls")
    cert, key = directory / "cert.pem", directory / "key.pem"
    subject = [
        "-subj",
        "/CN=test",
        "-days",
        "2",
        "-nodes",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
    ]
    subprocess.run(
        ["openssl", "req", "-x509", "-out", str(cert), "-keyout", str(key), *subject],
        check=True,
        capture_output=True,
    )
    return cert, key


def data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def kubeconfig(path: Path, user: dict[str, Any], **cluster: Any) -> str:
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "here"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://127.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


@pytest.mark.anyio
async def test_reads_a_kubeconfig_with_a_client_certificate(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    user = {"client-certificate-data": data(cert), "client-key-data": data(key)}
    path = kubeconfig(tmp_path / "config", user, **{"certificate-authority-data": data(cert)})
    connection = await load_connection(environment={"KUBECONFIG": path})
    assert connection.server == "https://127.0.0.1:6443"
    assert connection.namespace == "here"
    assert connection.tls is not None
    assert connection.tls.verify_mode is ssl.CERT_REQUIRED
    assert await connection.credentials.authorization() is None


@pytest.mark.anyio
async def test_a_token_and_no_verification_are_taken_as_written(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path / "config", {"token": "abc"}, **{"insecure-skip-tls-verify": True})
    connection = await load_connection(kubeconfig=path)
    assert connection.tls is not None
    assert connection.tls.verify_mode is ssl.CERT_NONE
    assert await connection.credentials.authorization() == "Bearer abc"


@pytest.mark.anyio
async def test_a_plugins_token_is_renewed_near_its_end(tmp_path: Path) -> None:
    counter = tmp_path / "calls"
    plugin = tmp_path / "plugin"
    plugin.write_text(
        f"#!/bin/sh\necho x >> {counter}\n"
        'echo "{\\"apiVersion\\":\\"client.authentication.k8s.io/v1\\",\\"kind\\":\\"ExecCredential\\",'
        '\\"status\\":{\\"token\\":\\"t$(wc -l < '
        + str(counter)
        + ' | tr -d " ")\\",\\"expirationTimestamp\\":\\"2020-01-01T00:00:00Z\\"}}"\n'
    )
    plugin.chmod(0o755)
    execute = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": str(plugin),
        "interactiveMode": "Never",
    }
    path = kubeconfig(tmp_path / "config", {"exec": execute}, **{"insecure-skip-tls-verify": True})
    clock = VirtualClock()
    connection = await load_connection(kubeconfig=path, clock=clock)
    first = await connection.credentials.authorization()
    assert await connection.credentials.authorization() == first
    clock.move(TOKEN_PERIOD)
    assert await connection.credentials.authorization() != first
    plugin.unlink()
    clock.move(TOKEN_PERIOD)
    assert (await connection.credentials.authorization() or "").startswith("Bearer t")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("{", "kubeconfig .*config: "),
        ("", "kubeconfig .*config: "),
        ("[]", "kubeconfig .*config: "),
        ("current-context: x\ncontexts: []\nclusters: []\nusers: []\n", "kubeconfig .*config: "),
    ],
)
async def test_a_malformed_kubeconfig_is_one_clear_error(
    tmp_path: Path, content: str, complaint: str
) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=complaint):
        await load_connection(environment={"KUBECONFIG": str(path)})


@pytest.mark.anyio
async def test_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        await load_connection(kubeconfig=str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError, match="not in a pod, KUBECONFIG is not set"):
        await load_connection(environment={"HOME": str(tmp_path)})


@pytest.mark.anyio
async def test_falls_back_to_the_users_own_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    kubeconfig(tmp_path / ".kube" / "config", {"token": "mine"}, server="http://127.0.0.1:8080")
    connection = await load_connection(environment={"HOME": str(tmp_path)})
    assert connection.tls is None
    assert await connection.credentials.authorization() == "Bearer mine"


def service_account(directory: Path, certificate: tuple[Path, Path], token: str) -> Path:
    (directory / "ca.crt").write_bytes(certificate[0].read_bytes())
    (directory / "namespace").write_text("gastown-system")
    (directory / "token").write_text(token)
    return directory


@pytest.mark.anyio
async def test_follows_the_rotation_of_the_service_accounts_token(
    tmp_path: Path, certificate: tuple[Path, Path], clock: VirtualClock
) -> None:
    service_account(tmp_path, certificate, "one\n")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
    connection = from_service_account(environment, clock, tmp_path)
    assert (connection.server, connection.namespace) == ("https://10.0.0.1:443", "gastown-system")
    assert await connection.credentials.authorization() == "Bearer one"
    (tmp_path / "token").write_text("two")
    assert await connection.credentials.authorization() == "Bearer one"
    clock.move(TOKEN_PERIOD)
    assert await connection.credentials.authorization() == "Bearer two"
    (tmp_path / "token").unlink()
    clock.move(TOKEN_PERIOD)
    assert await connection.credentials.authorization() == "Bearer two"


@pytest.mark.anyio
async def test_a_refused_token_is_looked_up_at_once_and_once_for_all_who_were_refused(
    tmp_path: Path, certificate: tuple[Path, Path], clock: VirtualClock
) -> None:
    service_account(tmp_path, certificate, "one")
    credentials = from_service_account({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, clock, tmp_path).credentials
    await credentials.authorization()
    assert not await credentials.replaced("Bearer one")
    (tmp_path / "token").write_text("two")
    assert await credentials.replaced("Bearer one")
    (tmp_path / "token").unlink()
    assert await credentials.replaced("Bearer one")
    assert not await credentials.replaced("Bearer two")


@pytest.mark.anyio
async def test_a_token_that_cannot_be_a_header_is_not_taken(
    tmp_path: Path, certificate: tuple[Path, Path], clock: VirtualClock, caplog: pytest.LogCaptureFixture
) -> None:
    service_account(tmp_path, certificate, "one")
    credentials = from_service_account({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, clock, tmp_path).credentials
    await credentials.authorization()
    (tmp_path / "token").write_text("two\r\nX-Evil: 1")
    clock.move(TOKEN_PERIOD)
    assert await credentials.authorization() == "Bearer one"
    assert "control characters" in caplog.text


@pytest.mark.anyio
async def test_credentials_say_whether_they_have_others_than_those_refused(tmp_path: Path) -> None:
    assert await NoCredentials().authorization() is None
    assert not await NoCredentials().replaced("Bearer x")
    assert await StaticToken("x").authorization() == "Bearer x"
    assert not await StaticToken("x").replaced("Bearer x")
    assert await StaticToken("x").replaced("Bearer y")
    path = kubeconfig(tmp_path / "config", {"token": "x"}, server="http://127.0.0.1:8080")
    credentials = (await load_connection(kubeconfig=path)).credentials
    assert not await credentials.replaced("Bearer x")
    assert await credentials.replaced("Bearer y")


@pytest.mark.anyio
async def test_an_incomplete_service_account_is_one_clear_error(
    tmp_path: Path, certificate: tuple[Path, Path], clock: VirtualClock
) -> None:
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1"}
    with pytest.raises(ConfigurationError, match="service account in"):
        from_service_account(environment, clock, tmp_path)
    service_account(tmp_path, certificate, "")
    connection = from_service_account(environment, clock, tmp_path)
    assert connection.server == "https://[fd00::1]:443"
    with pytest.raises(ConfigurationError, match="no token in"):
        await connection.credentials.authorization()


def test_a_pod_does_not_pay_for_the_generated_client() -> None:
    """38 MiB: importing any part of kubernetes_asyncio imports all of its client."""
    program = (
        "import sys, gastown_operator.runtime.manager; "
        "print(any(name.startswith('kubernetes_asyncio') for name in sys.modules))"
    )
    answer = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert answer.stdout == "False\n"

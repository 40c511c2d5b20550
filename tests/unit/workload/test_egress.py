"""Git through a proxy, to a server that a company's own authority vouches for."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from gastown_operator.workload.egress import CA_FILE, egress_configuration, egress_environment
from gastown_operator.workload.errors import GitError
from gastown_operator.workload.git import Git
from hack.git_server.certificates import ensure_certificates
from hack.git_server.https import HttpsServer
from hack.git_server.repositories import Repositories
from tests.support.connect_proxy import ConnectProxy

ACCOUNT = "user:secret-of-the-proxy"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HttpsServer]:
    repositories = Repositories(tmp_path / "repositories")
    repositories.create("project", {"README.md": "hello\n"}, branch="main")
    certificates = ensure_certificates(tmp_path / "tls", "127.0.0.1")
    made = HttpsServer(repositories.root, "127.0.0.1", 0, certificates)
    made.accounts["developer"] = "password"
    made.start()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own proxies; git's private directory is the test's."""
    for name in list(os.environ):
        if name.upper() in ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", CA_FILE):
            monkeypatch.delenv(name)
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr("gastown_operator.workload.egress.layout.PRIVATE", private)


def url_of(server: HttpsServer) -> str:
    return server.url("project").replace("https://", "https://developer:password@")


def heads(server: HttpsServer, private: Path) -> str:
    """What `git ls-remote` prints, with the configuration that the environment asks for."""
    git = Git(None).with_environment({}, egress_configuration(os.environ, private))
    return git.run("ls-remote", "--heads", url_of(server)).decode()


def test_git_trusts_the_authority_of_the_config_map(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(GitError, match="certificate"):
        heads(server, tmp_path / "private")
    monkeypatch.setenv(CA_FILE, str(server.certificates.authority))
    assert "refs/heads/main" in heads(server, tmp_path / "private")


def test_the_systems_authorities_stay_trusted_and_a_changed_one_is_taken(tmp_path: Path) -> None:
    system, own = tmp_path / "system.crt", tmp_path / "ca.crt"
    system.write_text("SYSTEM")
    own.write_text("OURS\n")
    environment = {CA_FILE: str(own), "SSL_CERT_FILE": str(system)}
    bundle = Path(egress_configuration(environment, tmp_path)["http.sslCAInfo"])
    assert bundle.read_text() == "SYSTEM\nOURS\n"
    own.write_text("OTHER\n")
    os.utime(own, (1, 1))
    assert (
        Path(egress_configuration(environment, tmp_path)["http.sslCAInfo"]).read_text() == "SYSTEM\nOTHER\n"
    )


def test_without_the_config_map_nothing_is_set(tmp_path: Path) -> None:
    assert egress_configuration({CA_FILE: str(tmp_path / "missing")}, tmp_path) == {}
    assert egress_configuration({}, tmp_path) == {}


def test_git_goes_through_a_proxy_with_a_password(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CA_FILE, str(server.certificates.authority))
    with ConnectProxy(ACCOUNT) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        assert "refs/heads/main" in heads(server, tmp_path / "private")
        assert set(proxy.targets) == {f"127.0.0.1:{server.port}"}
        connected = len(proxy.targets)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert "refs/heads/main" in heads(server, tmp_path / "private")
        assert len(proxy.targets) == connected


def test_no_password_of_a_proxy_is_printed(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CA_FILE, str(server.certificates.authority))
    with ConnectProxy("other:account") as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{ACCOUNT}@{proxy.address}")
        with pytest.raises(GitError, match="407") as refused:
            heads(server, tmp_path / "private")
        assert proxy.refused
    with pytest.raises(GitError) as unreachable:
        heads(server, tmp_path / "private")
    assert "secret-of-the-proxy" not in refused.value.stderr + unreachable.value.stderr


def test_curl_reads_small_letters() -> None:
    assert egress_environment({"HTTP_PROXY": "http://a:1", "https_proxy": "http://b:1", "NO_PROXY": ""}) == {
        "http_proxy": "http://a:1",
        "https_proxy": "http://b:1",
    }

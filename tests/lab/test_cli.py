"""The command line of hack/cluster: what it accepts, and what it says to what it does not."""

from pathlib import Path

import pytest

from hack.lab.cli import main, parse


def test_up_makes_one_real_node_by_default() -> None:
    options = parse(["up"])
    assert (options.name, options.nodes, options.kubernetes, options.provider) == (
        "gastown",
        "real",
        "1.36.2",
        None,
    )


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["exec", "--", "kubectl", "get", "pods", "-A"], ["kubectl", "get", "pods", "-A"]),
        (["exec", "--name", "a", "--", "env", "--name"], ["env", "--name"]),
        (
            ["exec", "--", "kubectl", "exec", "p", "--", "ls", "-l"],
            ["kubectl", "exec", "p", "--", "ls", "-l"],
        ),
        (["exec", "kubectl", "version"], ["kubectl", "version"]),
    ],
)
def test_everything_after_the_first_dashes_is_the_command(words: list[str], command: list[str]) -> None:
    assert parse(words).command == command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "VERB"),
        (["exec"], "exec needs a command"),
        (["up", "--", "ls"], "up takes no command"),
        (["up", "--nodes", "many"], "choose from 'real', 'kwok', 'none'"),
        (["load"], "IMAGE_TAR"),
        (["restart"], "COMPONENT"),
        (["reboot"], "invalid choice"),
    ],
)
def test_what_cannot_be_understood_ends_with_2_and_says_why(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["up", "--name", "Not_a_name"], {}, "is no cluster name"),
        (["up", "--provider", "existing"], {}, "set GASTOWN_KUBECONFIG"),
        (["up", "--kubeconfig", "/does/not/exist"], {}, "there is no kubeconfig /does/not/exist"),
        (["status"], {"GASTOWN_KUBECONFIG": "/does/not/exist"}, "there is no kubeconfig /does/not/exist"),
    ],
)
def test_a_bad_situation_gets_one_line_and_status_2(
    words: list[str], environment: dict[str, str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words, environment) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_lab_says_that_it_needs_root(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["up"], {}) == 2
    assert "needs root" in capsys.readouterr().err


def test_an_existing_cluster_is_never_taken_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig, kubectl = tmp_path / "kubeconfig", tmp_path / "kubectl"
    kubeconfig.touch()
    kubectl.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["down"], {"GASTOWN_KUBECONFIG": str(kubeconfig)}) == 0
    assert "nothing to do" in capsys.readouterr().out

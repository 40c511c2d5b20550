"""What a git server says, and what it means."""

import pytest

from gastown_operator.workload.errors import GitError
from gastown_operator.workload.message import Outcome
from gastown_operator.workload.remote import explain, said, telling_line


def test_what_a_server_says_can_neither_reorder_nor_hide_text() -> None:
    spoken = "remote: no\u202eentry\u2066\u200b\u2028here\u2029\x1b[31m\n".encode()

    assert said(spoken) == "remote: noentryhere[31m\n"


def test_the_telling_line_is_not_the_boilerplate() -> None:
    stderr = "fatal: Could not read from remote repository.\nremote: branches are closed\n"

    assert telling_line(stderr) == "remote: branches are closed"


@pytest.mark.parametrize(
    "stderr",
    [
        "fatal: unable to access 'https://git.example.invalid/a/': The requested URL returned error: 301",
        "fatal: unable to update url base from redirection:",
    ],
)
def test_a_redirect_is_not_followed_but_explained(stderr: str) -> None:
    error = explain(GitError("fetch", 128, stderr), "https://git.example.invalid/a")

    assert (error.outcome, error.reason) == (Outcome.CONFIG_ERROR, "RepositoryMoved")
    assert "set gitURL to the final URL" in error.message


@pytest.mark.parametrize(
    ("said_by_git", "reason"),
    [
        ("CONNECT tunnel failed, response 407", "ProxyRefused"),
        ("Received HTTP code 407 from proxy after CONNECT", "ProxyRefused"),
        ("Received HTTP code 403 from proxy after CONNECT", "ProxyRefused"),
        ("The requested URL returned error: 407", "ProxyRefused"),
        ("SSL certificate problem: unable to get local issuer certificate", "CertificateRefused"),
        ("server certificate verification failed. CAfile: none CRLfile: none", "CertificateRefused"),
    ],
)
def test_what_only_a_person_can_change_is_not_tried_for_ever(said_by_git: str, reason: str) -> None:
    stderr = f"fatal: unable to access 'https://git.example.invalid/a/': {said_by_git}"
    error = explain(GitError("fetch", 128, stderr), "https://git.example.invalid/a")

    assert (error.outcome, error.reason) == (Outcome.CONFIG_ERROR, reason)

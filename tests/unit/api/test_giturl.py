"""Git URLs: what we hand to git, and when two of them are one destination."""

import pytest

from gastown_operator.api.giturl import GitURL, GitURLError, parse_git_url


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("git@github.com:org/repo.git", GitURL("ssh", "git", "github.com", 22, "org/repo")),
        ("ssh://git@git.lab:2222/srv/a.git", GitURL("ssh", "git", "git.lab", 2222, "/srv/a")),
        ("ssh://git.lab/srv/a", GitURL("ssh", "", "git.lab", 22, "/srv/a")),
        ("https://GitHub.com/org/repo/", GitURL("https", "", "github.com", 443, "/org/repo")),
        ("https://10.244.0.1:8080/a/~b/c", GitURL("https", "", "10.244.0.1", 8080, "/a/~b/c")),
        ("ssh://git@[fd00::1]:22/a", GitURL("ssh", "git", "fd00::1", 22, "/a")),
    ],
)
def test_urls_are_taken_apart(text: str, expected: GitURL) -> None:
    assert parse_git_url(text) == expected


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://github.com/org/repo", "https://GITHUB.com:443/org/repo.git"),
        ("ssh://git@git.lab/a", "ssh://git@git.lab:22/a.git/"),
    ],
)
def test_spellings_of_one_destination_are_equal(one: str, other: str) -> None:
    assert parse_git_url(one) == parse_git_url(other)


@pytest.mark.parametrize(
    "other",
    [
        "https://github.com:8443/org/repo",
        "https://github.com.evil.example/org/repo",
        "https://github.com/org/repo2",
        "https://github.com/Org/repo",
        "git@github.com:org/repo",
        "ssh://git@github.com/org/repo",
    ],
)
def test_a_credential_does_not_travel_to_another_destination(other: str) -> None:
    assert parse_git_url(other) != parse_git_url("https://github.com/org/repo")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty"),
        ("-oProxyCommand=sh", "begins with '-'"),
        ("file:///etc", "scheme other than"),
        ("ext::sh -c id", "white space"),
        ("ext::sh", "neither"),
        ("git://github.com/org/repo", "scheme other than"),
        ("http://github.com/org/repo", "set it to https://"),
        ("/srv/repo.git", "neither"),
        ("ssh://-oProxyCommand=x/a", "no valid host name"),
        ("ssh://-x@host/a", "malformed user name"),
        ("git@-oProxyCommand=x:a", "neither"),
        ("git@host:-a", "neither"),
        ("https://user:secret@github.com/a", "put them into a Secret"),
        ("https://token@github.com/a", "put them into a Secret"),
        ("https://github.com/a?b", "query"),
        ("https://github.com/", "names no repository"),
        ("https://github.com", "names no repository"),
        ("https:///a", "no valid host name"),
        ("https://github.com:0x50/a", "is malformed"),
        ("https://github.com:99999/a", "is malformed"),
        ("https://github.com/a\nb", "control characters"),
        ("https://github.com/\u200b", "control characters"),
        ("https://github.com/" + "a" * 10_000, "more than 2048"),
    ],
)
def test_what_git_could_take_for_something_else_is_refused(text: str, problem: str) -> None:
    with pytest.raises(GitURLError, match=problem):
        parse_git_url(text)


def test_a_password_in_a_url_is_not_repeated() -> None:
    with pytest.raises(GitURLError) as caught:
        parse_git_url("https://user:hunter2@github.com/a")
    assert "hunter2" not in str(caught.value)

"""What the operator refuses before any pod is made, and the way over HTTPS that it takes."""

from tests.support.site import SECRET_NAME, WORK, Site


def test_the_town_s_tmux_is_refused_with_the_command_that_helps(site: Site) -> None:
    polecat = site.rig("local").sling("local", executionMode="local")
    polecat.tells("Stuck", "LocalModeUnavailable", "kubectl -n", '"executionMode":"kubernetes"')
    assert polecat.pods() == []
    polecat.patch({"executionMode": "kubernetes"})
    polecat.until("Done")


def test_the_rig_s_credential_is_not_shown_to_another_repository(site: Site) -> None:
    rig, other = site.rig("bound"), site.rig("other")
    elsewhere = {"gitRepository": site.git.ssh_url(other.repository)}
    polecat = rig.sling("bound", kubernetes=elsewhere)
    polecat.tells("Stuck", "CredentialBoundToRig", rig.name, "gitSecretRef", "allowedSecrets")
    named = rig.sling("named", kubernetes={**elsewhere, "gitSecretRef": {"name": SECRET_NAME}})
    named.tells("Stuck", "CredentialBoundToRig")
    assert polecat.pods() == []
    assert named.pods() == []


def test_https_with_a_password_and_an_authority_of_its_own_works(site: Site) -> None:
    site.git.authorize_user("miner", "deep")
    secret = {"username": "miner", "password": "deep", "ca.crt": site.git.certificate_authority()}
    rig = site.rig("https", over_https=True, secret=secret)
    status = rig.sling("https", WORK).tells("Done", "Done", "polecat/https")
    assert rig.refs["refs/heads/polecat/https"] == status["headCommit"]

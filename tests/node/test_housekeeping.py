"""Refs of polecats that are gone leave the git server; those of others, and branches, stay."""

from uuid import uuid4

from gastown_operator.api.batch import JOB
from gastown_operator.api.polecat import POLECAT
from gastown_operator.api.rig import RIG
from tests.support.polecats import condition
from tests.support.site import Site
from tests.support.waiting import eventually

SOON = {"housekeeping": {"interval": "10s", "keep": "10s"}}


def test_refs_of_a_polecat_that_is_gone_leave_the_server_and_nothing_else_does(site: Site) -> None:
    rig = site.rig("housekeeping", spec=SOON)
    done, living = rig.sling("done"), rig.sling("living")
    done.until("Done")
    living.until("Done")
    uid = site.cluster.client.request("GET", RIG.path("", rig.name)).object()["metadata"]["uid"]
    others_key = f"{rig.namespace}/{uuid4()}"
    foreign = {f"refs/gastown/wip/{others_key}/1", f"refs/gastown/rig/{uuid4()}/{others_key}"}
    for name in foreign:
        site.git.git(rig.repository, "update-ref", name, "refs/heads/main")
    own = {done.ref("done"), f"refs/gastown/rig/{uid}/{rig.namespace}/{done.uid}"}
    assert own <= rig.refs.keys()

    done.delete()
    done.until_gone(POLECAT, "done")
    eventually(lambda: not any(done.uid in name for name in rig.refs), "its refs are gone", 150)

    kept = {living.ref("done"), f"refs/gastown/rig/{uid}/{rig.namespace}/{living.uid}", *foreign}
    assert kept | {"refs/heads/polecat/done", "refs/heads/polecat/living"} <= rig.refs.keys()

    def recorded() -> bool:
        # The refs are gone before the Job that removed them has ended, and before what it says is recorded.
        status = site.cluster.client.request("GET", RIG.path("", rig.name)).object()["status"]
        remaining = status.get("housekeeping", {}).get("remainingRefs")
        return (condition(status, "HousekeepingSucceeded").get("status"), remaining) == ("True", 2)

    eventually(recorded, "what is left is told: done ref and owner ref of the one that lives")
    stored = {"metadata": {"name": rig.name}}
    site.cluster.client.patch(RIG, stored, {"spec": {"housekeeping": {"suspend": True}}}).object()
    eventually(lambda: not site.cluster.objects(JOB, rig.namespace), "the Job is deleted")

"""Which checkpoint a new attempt goes on from."""

import pytest

from gastown_operator.workload.refs import RecoveryRefs, newest_checkpoint


def refs(round_number: int) -> RecoveryRefs:
    """Refs of one polecat."""
    return RecoveryRefs("refs/gastown", "key", round_number)


@pytest.mark.parametrize(
    ("round_number", "names", "expected"),
    [
        (1, [], None),
        (1, ["wip/key/1"], "wip/key/1"),
        (3, ["wip/key/1", "wip/key/2"], "wip/key/2"),
        (3, ["wip/key/1", "wip/key/2", "done/key/2"], None),
        (3, ["wip/key/1", "done/key/1", "wip/key/2"], "wip/key/2"),
        (1, ["wip/key/2"], None),
        (2, ["wip/other/1"], None),
    ],
)
def test_the_newest_round_that_did_not_end_well(
    round_number: int, names: list[str], expected: str | None
) -> None:
    known = [f"refs/gastown/{name}" for name in names]

    found = newest_checkpoint(refs(round_number), known)

    assert found == (f"refs/gastown/{expected}" if expected else None)

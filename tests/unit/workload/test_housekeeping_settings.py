"""What a run of housekeeping is told, and what it answers, on their way through environment and termination message."""

import pytest
from attrs import evolve

from gastown_operator.workload import housekeeping_report
from gastown_operator.workload.housekeeping_report import HousekeepingReport
from gastown_operator.workload.housekeeping_settings import HousekeepingSettings, from_environment
from gastown_operator.workload.living import keys
from gastown_operator.workload.message import MAXIMUM_BYTES, Outcome
from gastown_operator.workload.rig_refs import RigRefs

SETTINGS = HousekeepingSettings(
    repository="ssh://git@git.example.invalid/project.git",
    refs=RigRefs("refs/gastown", "0b7c2f2e-aaaa"),
    keep=1_209_600,
    living=keys(["workers/a", "workers/b"]),
    landed=keys(["workers/c"]),
    namespaces=("workers", "others"),
    told_at=1_800_000_000,
    namespace="workers",
    git_secret="git-credentials",
    host_key_checking="accept-new",
)
REPORT = HousekeepingReport(Outcome.SUCCEEDED, "Succeeded", "removed 3", 3, 4)


@pytest.mark.parametrize("changes", [{}, {"living": keys(()), "landed": keys(()), "namespaces": ()}])
def test_what_was_told_is_what_is_read(changes: dict[str, object]) -> None:
    settings = evolve(SETTINGS, **changes)  # type: ignore[arg-type]  # settings of any type
    assert from_environment(settings.environment()) == settings


def test_thousands_of_polecats_fit_into_variables_of_the_size_that_linux_takes() -> None:
    many = [f"gastown-workers/0b7c2f2e-1234-4321-aaaa-{number:012}" for number in range(20_000)]
    settings = evolve(SETTINGS, living=keys(many))
    environment = settings.environment()
    assert max(len(name) + len(value) for name, value in environment.items()) < 128 * 1024
    read = from_environment(environment)
    assert all(key in read.living for key in many)
    assert "gastown-workers/somebody-else" not in read.living
    # 5,000 of them: well below what the API server stores in one object.
    assert len(evolve(SETTINGS, living=keys(many[:5000])).living.encode()) == 80_000


def test_a_set_of_polecats_that_is_not_complete_is_an_error_and_nobodys_end() -> None:
    environment = evolve(SETTINGS, living=keys(map(str, range(10_000)))).environment()
    assert "GASTOWN_LIVING_1" in environment
    for name in ("GASTOWN_LIVING_1", "GASTOWN_LIVING_PARTS", "GASTOWN_LANDED_PARTS"):
        with pytest.raises(KeyError):
            from_environment({key: value for key, value in environment.items() if key != name})
    with pytest.raises(ValueError, match="cut short"):
        from_environment({**environment, "GASTOWN_LIVING_1": environment["GASTOWN_LIVING_1"][:-4]})


def test_the_report_is_read_as_it_was_written() -> None:
    assert housekeeping_report.decode(REPORT.encode().decode()) == REPORT


def test_a_long_report_fits_into_a_termination_message() -> None:
    encoded = evolve(REPORT, message="ä" * 5000).encode()
    assert len(encoded) <= MAXIMUM_BYTES
    read = housekeeping_report.decode(encoded.decode("ascii"))
    assert read is not None
    assert (read.deleted, read.remaining) == (3, 4)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"v":2}',
        '{"v":1,"outcome":"Succeeded"}',
        '{"v":1,"outcome":"Fine","reason":"a","message":"","deleted":0,"remaining":0}',
        '{"v":1,"outcome":"Succeeded","reason":"a","message":"","deleted":true,"remaining":0}',
        '{"v":1,"outcome":"Succeeded","reason":"","message":"","deleted":0,"remaining":0}',
        '{"v":1,"outcome":["Succeeded"],"reason":"a","message":"","deleted":0,"remaining":0}',
    ],
)
def test_what_is_no_report_is_none(text: str) -> None:
    assert housekeeping_report.decode(text) is None

"""The benchmark runs and counts right; how fast anything is, a test on a shared machine cannot say."""

import pytest

from tests.bench.measures import MEASURES, Surroundings

QUICK = [measure for measure in MEASURES if measure.surroundings is Surroundings.KWOK and measure.quick]


@pytest.mark.usefixtures("cluster")
def test_fifty_polecats_are_measured_against_the_bare_client() -> None:
    (thousand,) = (measure for measure in QUICK if measure.name == "thousand")
    figures = {figure.name: figure for figure in thousand.run(**thousand.quick)}
    (writes,) = (figure for name, figure in figures.items() if name.startswith("API writes"))
    assert writes.details["create pods"] == 50
    assert writes.met, writes.details
    assert all(
        figure.value > 0 for name, figure in figures.items() if name.startswith(("50 ", "CPU", "time"))
    )

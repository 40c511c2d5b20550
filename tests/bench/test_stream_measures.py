"""The measures of the runtime's own, made short: that they run, and that what they count adds up. Times are the benchmark's business."""

import orjson
import pytest

from tests.bench import event_latency, event_rate, gateway_first_byte, sync
from tests.bench.figures import Figure
from tests.bench.stream_server_pods import FIRST_VERSION, PODS_PER_RIG, encoded_pods, pod
from tests.bench.stream_server_process import BenchmarkError, measure_reader, running, server

pytestmark = pytest.mark.timeout(120)


def named(figures: list[Figure], part: str) -> Figure:
    (found,) = (figure for figure in figures if part in figure.name)
    return found


@pytest.mark.parametrize("number", range(3))
def test_an_encoded_pod_is_the_pod_of_its_number(number: int) -> None:
    encoded = encoded_pods(3)[number].at(FIRST_VERSION, 4)
    made = pod(number, 2 + number, version=str(FIRST_VERSION), restarts=4)
    assert orjson.loads(encoded) == made


def test_pods_are_seven_to_eight_kilobytes_and_belong_to_rigs() -> None:
    pods = encoded_pods(2 * PODS_PER_RIG)
    assert all(7_000 <= one.size <= 8_200 for one in pods)
    annotations = orjson.loads(pods[-1].at(FIRST_VERSION))["metadata"]["annotations"]
    assert annotations["gastown.io/rig"] == "rig-0001"


def test_every_event_of_the_stream_is_reconciled() -> None:
    figures = event_rate.measure(rate=100.0, seconds=0.5, baseline_seconds=0.5, pods=100, baselines=["bare"])
    assert [figure.bar for figure in figures] == [40.0, None, None, None]
    details = named(figures, "CPU of the runtime").details
    assert 0 < details["events_sent"] <= 50
    assert details["reconciles"] == 100 + details["events_sent"]


@pytest.mark.parametrize("reader", list(event_rate.BASELINES))
def test_every_reader_counts_events(reader: str) -> None:
    with server(10) as url:
        run = measure_reader(url, "baselines_watch", reader, "10", rate=100.0, seconds=0.5)
    assert 0 < run.handled <= run.sent


def test_latency_is_known_of_every_event() -> None:
    p50, p99 = event_latency.measure(rate=100.0, seconds=0.5)
    assert 0 < p50.value <= p99.value
    assert p99.bar == 25.0
    assert 0 < p99.details["events_sent"] <= 50


def test_an_event_that_no_reconcile_saw_is_an_error() -> None:
    with server(10) as url:  # more events than pods: some are merged, or their moments are not kept
        run = measure_reader(url, "event_rate_reader", "--pods", "10", rate=100.0, seconds=0.2)
    with pytest.raises(BenchmarkError, match="events were not seen by a reconcile"):
        event_latency.delays(run)


def test_a_reader_that_ends_early_is_an_error() -> None:
    with (
        running("baselines_watch", "bare", "1", "http://127.0.0.1:1") as child,
        pytest.raises(BenchmarkError),
    ):
        child.line()


def test_all_forms_of_reading_read_the_same_pods() -> None:
    with server(1200) as url:
        readings = sync.read_in_turns(1, url)
    assert list(readings) == ["bare", "streaming", "paged"]
    assert [some[0]["objects"] for some in readings.values()] == [1200] * 3
    figures = sync.figures(readings)
    assert [figure.bar for figure in figures] == [1.5, 100.0, None, None, None, None, None]
    assert all(figure.value > 0 for figure in figures)


def test_every_answer_through_the_gateway_is_whole_and_timed() -> None:
    p50, p99 = gateway_first_byte.measure(agents=3, rounds=1, seconds=0.1)
    assert p99.bar == 5.0
    assert p99.details["answers"] == 3
    assert p50.value <= p99.value + 1000

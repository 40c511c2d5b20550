"""What a PodMonitor reads. Nothing depends on it."""

from typing import Final

from attrs import field, frozen
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from gastown_operator.gateway.usage import Usage

_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


def _counter(name: str, about: str, *labels: str) -> Counter:
    return Counter(name, about, labels, registry=None)


@frozen
class Metrics:
    """Counters of one gateway."""

    registry: CollectorRegistry = field(factory=lambda: CollectorRegistry(auto_describe=True))
    requests: Counter = field(
        factory=lambda: _counter(
            "gastown_gateway_requests_total", "Requests of the agent by what became of them.", "status"
        )
    )
    tokens: Counter = field(
        factory=lambda: _counter(
            "gastown_gateway_tokens_total", "Tokens by kind, cached input apart.", "kind"
        )
    )
    cost: Counter = field(
        factory=lambda: _counter("gastown_gateway_cost_usd_total", "Cost in USD, as far as prices are known.")
    )
    unpriced: Counter = field(
        factory=lambda: _counter(
            "gastown_gateway_unpriced_tokens_total",
            "Tokens of models without a known price, which are not in the cost.",
        )
    )
    first_byte: Histogram = field(
        factory=lambda: Histogram(
            "gastown_gateway_first_byte_seconds",
            "From a request to the first byte of the model's answer.",
            buckets=_SECONDS,
            registry=None,
        )
    )

    def __attrs_post_init__(self) -> None:
        for metric in (self.requests, self.tokens, self.cost, self.unpriced, self.first_byte):
            self.registry.register(metric)

    def used(self, usage: Usage, cost: float | None) -> None:
        """Count one answer; a cost of None is not known."""
        plain = max(0, usage.input - usage.cache_read - usage.cache_write)
        kinds = {"input": plain, "cache_read": usage.cache_read, "cache_write": usage.cache_write}
        for kind, count in {**kinds, "output": usage.output}.items():
            self.tokens.labels(kind).inc(count)
        if cost is None:
            self.unpriced.inc(usage.total)
        else:
            self.cost.inc(cost)

    def page(self) -> bytes:
        """The exposition format."""
        return generate_latest(self.registry)

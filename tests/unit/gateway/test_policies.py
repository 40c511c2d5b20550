"""The gateway's decisions, without sockets: retries, the breaker, the budget, credentials, the record, proxies, prices."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gastown_operator.agents.prices import TABLE, parse_overrides, price_of
from gastown_operator.gateway import failures, retry
from gastown_operator.gateway.budget import Limits, Meter
from gastown_operator.gateway.credentials import CredentialFiles, CredentialMissingError
from gastown_operator.gateway.egress import Proxies
from gastown_operator.gateway.message import GatewayRecord, ModelOutcome, clean, decode
from gastown_operator.gateway.redact import Redactor
from gastown_operator.gateway.retry import Breaker, RequestRate
from gastown_operator.gateway.settings import GatewaySettings, from_environment
from gastown_operator.gateway.usage import Usage


def failure(status: int, retry_after: float | None = None) -> failures.Failure:
    return failures.of_status(status, "", retry_after, b"", "")


# Retries


@pytest.mark.parametrize(
    ("failed", "tries", "seconds"),
    [
        (failure(500), 1, 0.25),
        (failure(500), 2, 1.0),
        (failure(500), 3, None),
        (failure(429, 3), 1, 3),
        (failure(429, 6), 1, None),
        (failure(400), 1, None),
        (failure(401), 1, None),
        (failures.unavailable("TimedOut", "x"), 1, None),
        (failures.unavailable("ProviderUnreachable", "x"), 1, 0.25),
    ],
)
def test_the_gateway_tries_again_twice_and_not_for_long(
    failed: failures.Failure, tries: int, seconds: float | None
) -> None:
    assert retry.wait_before(failed, tries) == seconds


def test_the_breaker_opens_after_four_failures_and_lets_one_try_later() -> None:
    breaker = Breaker()
    for at in range(4):
        assert not breaker.tripped()
        breaker.failed(at, at + 0.5)
    assert breaker.refuses(4)
    assert not breaker.refuses(40)
    breaker.failed(40, 41)
    assert breaker.refuses(42)
    breaker.succeeded()
    assert not breaker.refuses(42)


def test_the_breaker_opens_after_two_long_failures() -> None:
    breaker = Breaker()
    breaker.failed(0, 60)
    assert not breaker.tripped()
    breaker.failed(60, 120)
    assert breaker.tripped()


def test_failures_at_the_same_time_are_one() -> None:
    breaker = Breaker()
    for at in range(10):
        breaker.failed(0.0, 1 + at / 10)
    assert not breaker.tripped()


@given(st.lists(st.floats(0, 10), min_size=1, max_size=200))
def test_no_more_requests_than_the_rate_allows(pauses: list[float]) -> None:
    rate, now, taken = RequestRate(60), 0.0, 0
    for pause in pauses:
        now += pause
        taken += rate.takes(now)
    assert taken <= 60 + now + 1e-6


# Budget

SONNET = price_of("claude-sonnet-4-5")


def test_answers_in_flight_count_until_they_are_settled() -> None:
    meter = Meter(Limits(100))
    meter.running(1, Usage(40, output=10), None)
    meter.running(1, Usage(40, output=20), None)
    meter.running(2, Usage(30), None)
    found = [meter.spent]
    meter.running(2, Usage(40), None)
    found.append(meter.spent)
    meter.settle(1, Usage(40), None, estimated=False)
    found.append(meter.spent)
    meter.settle(2, Usage(60), None, estimated=True)
    assert [*found, meter.spent] == [False, True, False, True]
    assert meter.estimated
    assert not meter.priced


def test_a_cost_is_exact() -> None:
    assert SONNET is not None
    usage = Usage(
        input=1_000_000, cache_read=300_000, cache_write=200_000, cache_write_1h=50_000, output=100_000
    )
    assert usage.cost(SONNET) == Decimal("1.5") + Decimal("0.09") + Decimal("0.5625") + Decimal(
        "0.3"
    ) + Decimal("1.5")
    meter = Meter(Limits(cost=Decimal("0.3")))
    for key in range(3):
        meter.settle(key, Usage(output=6_666), SONNET, estimated=False)
    assert not meter.spent
    meter.settle(4, Usage(output=2), SONNET, estimated=False)
    assert meter.spent


def test_a_long_prompt_costs_more() -> None:
    price = price_of("gpt-5.4")
    assert price is not None
    assert Usage(input=272_000, output=1_000).cost(price) == Decimal("0.695")
    assert Usage(input=272_001, output=1_000).cost(price) == Decimal("1.382505")


def test_writing_to_the_cache_costs_more_where_the_models_page_says_so() -> None:
    price = price_of("gpt-6-astra")
    assert price is not None
    assert Usage(input=100_000, cache_write=100_000).cost(price) == Decimal("1.25")


# Prices


@pytest.mark.parametrize(
    ("model", "known_as"),
    [
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("gpt-5-2025-08-07", "gpt-5"),
        ("claude-opus-4-8", "claude-opus-4-8"),
    ],
)
def test_a_snapshot_costs_what_its_model_costs(model: str, known_as: str) -> None:
    assert price_of(model) == TABLE[known_as]


@pytest.mark.parametrize(
    "model", ["", "qwen3-coder:30b", "claude-sonnet-9", "gpt-5-something", "xclaude-opus-5"]
)
def test_no_price_is_invented(model: str) -> None:
    assert price_of(model) is None


def test_users_override_and_extend_the_table() -> None:
    prices = parse_overrides('{"mine": {"input": 3, "output": "15.5"}, "gpt-5": {"input": "0", "output": 0}}')
    mine, free = price_of("mine-20260101", prices), price_of("gpt-5", prices)
    assert mine is not None
    assert free is not None
    assert (mine.output, mine.cache_read, mine.cache_write) == (Decimal("15.5"), Decimal(3), Decimal(3))
    assert free.output == 0
    assert parse_overrides(" ") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "must be an object"),
        ('{"m": 3}', "price of 'm' must be an object"),
        ('{"m": {"input": 3}}', "lacks output"),
        ('{"m": {"input": 3, "output": 3, "ouput": 3}}', "unknown keys: ouput"),
        ('{"m": {"input": -3, "output": 3}}', "'input' of 'm'"),
        ('{"m": {"input": "NaN", "output": 3}}', "'input' of 'm'"),
        ('{"m": {"input": true, "output": 3}}', "'input' of 'm'"),
    ],
)
def test_what_is_wrong_with_prices_is_said(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_overrides(text)


# Credentials


@pytest.mark.parametrize("key", ["../x", "a/b", "..", "a\n"])
def test_a_key_that_leaves_the_secret_is_no_key(tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_text("secret")
    with pytest.raises(CredentialMissingError):
        CredentialFiles(tmp_path / "secret", "llm", key).read()


def test_a_credential_is_not_printed(tmp_path: Path) -> None:
    (tmp_path / "api-key").write_text("sk-secret-value")
    credential = CredentialFiles(tmp_path, "llm", "api-key").read()
    assert "sk-secret-value" not in repr(credential)
    redactor = Redactor()
    redactor.know("some password")
    assert redactor.text('it is some password, or sk-ant-abcdefgh, or Bearer a.b-c/d="') == (
        'it is [redacted], or [redacted], or [redacted]"'
    )


# The record


@given(st.text(), st.text(), st.integers(0, 10**13))
def test_a_record_fits_and_says_the_same_when_read(message: str, model: str, tokens: int) -> None:
    record = GatewayRecord(
        ModelOutcome.OK,
        "Reason",
        message,
        tokens,
        tokens,
        tokens,
        tokens,
        tokens,
        "0.1",
        True,
        "budget",
        model,
        200,
    )
    encoded = record.encode()
    assert len(encoded) <= 1024
    read = decode(encoded.decode())
    assert read is not None
    assert read.message.startswith(clean(message)[:20])
    assert (read.output_tokens, read.cost_usd, read.estimated) == (tokens, "0.1", True)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "[]", "{}", '{"v":2,"outcome":"Ok"}', '{"v":1,"outcome":"Great"}', "[" * 10_000),
        *(
            '{"v":1,"outcome":"Ok","requests":true}',
            '{"v":1,"outcome":"Ok","cost_usd":1}',
            '{"v":1,"outcome":[]}',
        ),
    ],
)
def test_what_is_no_record_is_none(text: str) -> None:
    assert decode(text) is None


def test_a_message_is_one_line_without_control_characters() -> None:
    assert clean("a\x1b[31m\nb\u202e  c") == "a [31m b c"
    assert len(clean("x" * 5000)) == 300


# Settings and egress


def test_settings_come_back_from_the_environment() -> None:
    prices = json.dumps({"m": {"input": "1", "output": "2"}})
    settings = GatewaySettings(
        "litellm", "http://litellm:4000/v1", "llm", "key", "m", 5, "1.5", prices, 1.5, 2.5, "a/b", True, 30
    )
    assert from_environment(settings.environment()) == settings
    assert from_environment({"GASTOWN_GATEWAY_PROVIDER": "openai"}) == GatewaySettings("openai")


def test_the_providers_own_address_is_known() -> None:
    assert GatewaySettings("anthropic").base == "https://api.anthropic.com"
    assert GatewaySettings("openai", "https://host/path/v1/").base == "https://host/path"
    for bad in (GatewaySettings("ollama"), GatewaySettings("openai", "file:///etc/passwd")):
        with pytest.raises(ValueError, match="endpoint"):
            _ = bad.base


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("https://api.anthropic.com/v1", "", True),
        ("https://api.anthropic.com/v1", "anthropic.com", False),
        ("https://api.anthropic.com/v1", ".anthropic.com, other", False),
        ("https://api.anthropic.com/v1", "*", False),
        ("https://xanthropic.com/v1", "anthropic.com", True),
        ("https://host:8443/v1", "host:8443", False),
        ("https://host:8443/v1", "host:443", True),
        ("http://host/v1", "", False),
    ],
)
def test_proxies_are_those_of_the_environment(url: str, no_proxy: str, proxied: bool) -> None:
    proxies = Proxies({"https": "proxy:3128", "no": no_proxy})
    assert proxies.proxy_for(URL(url)) == (URL("http://proxy:3128") if proxied else None)

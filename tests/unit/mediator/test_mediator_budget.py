from decimal import Decimal

import pytest

from agent_pipeline.documents.request import Limits
from agent_pipeline.mediator.budget import Budget
from agent_pipeline.mediator.prices import DEAREST, FAMILIES, price_of


class Watch:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def budget(
    watch: Watch | None = None, *, steps: int = 3, seconds: int = 10, usd: str = "1", tokens: int = 1000
) -> Budget:
    return Budget(Limits(steps, seconds, usd), tokens, price_of("claude-sonnet-4-6"), monotonic=watch or Watch())


def test_nothing_used_is_a_go_ahead() -> None:
    assert budget().exceeded() is None


def test_steps_are_reached() -> None:
    ours = budget()
    ours.steps = 2
    assert ours.exceeded() is None
    ours.steps = 3
    assert ours.exceeded() == "steps"
    assert "3 steps" in ours.explain("steps")


def test_seconds_are_reached_and_never_negative() -> None:
    watch = Watch()
    ours = budget(watch)
    watch.time = 9.5
    assert ours.exceeded() is None
    assert ours.seconds_left() == pytest.approx(0.5)
    watch.time = 11
    assert ours.exceeded() == "seconds"
    assert ours.seconds_left() == 0


def test_tokens_count_every_kind() -> None:
    ours = budget()
    ours.charge(
        {
            "input_tokens": 300,
            "cache_creation_input_tokens": 300,
            "cache_read_input_tokens": 300,
            "output_tokens": 99,
        }
    )
    assert ours.exceeded() is None
    ours.charge({"output_tokens": 1})
    assert ours.tokens == 1000
    assert ours.exceeded() == "tokens"


def test_money_is_exact_and_stops_the_run() -> None:
    ours = budget(usd="0.003", tokens=10**9)
    ours.charge({"input_tokens": 999})
    assert ours.usd == "0.002997"
    assert ours.exceeded() is None
    ours.charge({"input_tokens": 1})
    assert ours.usd == "0.003"
    assert ours.exceeded() == "usd"


def test_small_money_is_rounded_up_and_written_plainly() -> None:
    ours = Budget(Limits(3, 10, "1"), 1000, price_of("claude-haiku-5-5"), monotonic=Watch())
    ours.charge({"cache_read_input_tokens": 1})
    assert ours.usd == "0.000001"


def test_usage_is_what_provenance_takes() -> None:
    watch = Watch()
    ours = budget(watch)
    ours.steps = 2
    ours.charge({"input_tokens": 1, "cache_creation_input_tokens": 2, "cache_read_input_tokens": 4, "output_tokens": 8})
    watch.time = 1.6
    usage = ours.usage()
    assert (usage.steps, usage.input_tokens, usage.cache_read_tokens, usage.output_tokens) == ("2", "3", "4", "8")
    assert usage.seconds == "2"


def test_what_costs_nothing_is_limited_in_steps_and_seconds_only() -> None:
    ours = Budget(Limits(3, 10, "0"), 1, price=None, monotonic=Watch())
    ours.charge({"input_tokens": 10**9})
    assert ours.exceeded() is None
    assert ours.usage().usd == "0"


def test_an_unknown_model_is_the_dearest() -> None:
    assert price_of("claude-opus-5-9") is DEAREST
    assert price_of("something-else") is DEAREST
    assert price_of("claude-opus-5") is not DEAREST
    assert all(p.output <= DEAREST.output and p.input <= DEAREST.input for p in FAMILIES.values())


def test_a_dated_id_costs_what_its_model_costs() -> None:
    assert price_of("claude-haiku-4-5-20251001") is FAMILIES["claude-haiku-4-5"]


def test_every_model_of_the_sdk_but_the_retired_has_a_price() -> None:
    from typing import get_args  # noqa: PLC0415

    from anthropic.types.model_param import ModelParam  # noqa: PLC0415

    newer = {"claude-fable-5-2", "claude-mythos-5-2", "claude-mythos-preview"}  # no list price known: the dearest
    unpriced = {model for model in get_args(get_args(ModelParam)[0]) if price_of(model) is DEAREST}
    assert unpriced == newer


def test_a_long_request_costs_the_higher_price() -> None:
    haiku = price_of("claude-haiku-5-5")
    assert haiku.cost({"input_tokens": 100_000}) == Decimal("0.01")
    assert haiku.cost({"input_tokens": 1, "cache_read_input_tokens": 100_000}) == Decimal("0.0050005")


def test_writing_the_cache_costs_a_quarter_more() -> None:
    assert price_of("claude-sonnet-4-6").cost({"cache_creation_input_tokens": 1_000_000}) == Decimal("3.75")

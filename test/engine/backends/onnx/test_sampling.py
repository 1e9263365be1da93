# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
import numpy as np
import pytest
from vlm_npu_ros.engine.backends.onnx.sampling import pick_token
from vlm_npu_ros.engine.types import Sampling

# Token 2 has the probability 0.5, then 4, 1, 0 and 3.
PROBABILITIES = np.array([0.1, 0.15, 0.5, 0.05, 0.2])
LOGITS = np.log(PROBABILITIES).astype(np.float32)


def draw(sampling: Sampling, count: int = 2000, logits: np.ndarray = LOGITS) -> list[int]:
    rng = np.random.default_rng(sampling.seed)
    return [pick_token(logits, sampling, rng) for _ in range(count)]


def all_tokens(temperature: float = 1.0) -> Sampling:
    return Sampling(temperature, top_k=0, top_p=1.0, seed=1)


@pytest.mark.parametrize('temperature', [0.0, -1.0])
def test_greedy_takes_the_likeliest(temperature: float) -> None:
    assert set(draw(Sampling(temperature, top_k=0, top_p=1.0))) == {2}


def test_greedy_takes_the_first_of_equals() -> None:
    assert set(draw(Sampling(), logits=np.zeros(5, np.float32))) == {0}


@pytest.mark.parametrize('top_k, tokens', [
    (1, {2}), (2, {2, 4}), (3, {2, 4, 1}), (5, {0, 1, 2, 3, 4}), (0, {0, 1, 2, 3, 4}),
    (99, {0, 1, 2, 3, 4}),
])
def test_top_k_draws_among_the_k_likeliest(top_k: int, tokens: set[int]) -> None:
    assert set(draw(Sampling(1.0, top_k, top_p=1.0, seed=1))) == tokens


@pytest.mark.parametrize('top_p, tokens', [
    (0.0, {2}), (0.1, {2}), (0.49, {2}), (0.51, {2, 4}), (0.69, {2, 4}), (0.71, {2, 4, 1}),
    (0.94, {2, 4, 1, 0}), (0.96, {0, 1, 2, 3, 4}), (1.0, {0, 1, 2, 3, 4}),
])
def test_top_p_draws_among_the_tokens_that_hold_p(top_p: float, tokens: set[int]) -> None:
    assert set(draw(Sampling(1.0, top_k=0, top_p=top_p, seed=1))) == tokens


def test_top_p_is_of_what_top_k_leaves() -> None:
    # 0.5 of the 0.7 that tokens 2 and 4 hold together is more than 0.7.
    assert set(draw(Sampling(1.0, top_k=2, top_p=0.7, seed=1))) == {2}


def test_top_p_is_at_the_given_temperature() -> None:
    assert set(draw(Sampling(0.2, top_k=0, top_p=0.9, seed=1))) == {2}
    assert set(draw(Sampling(5.0, top_k=0, top_p=0.9, seed=1))) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize('temperature', [0.5, 1.0, 2.0])
def test_tokens_come_as_often_as_they_shall(temperature: float) -> None:
    count = 10_000
    counts = Counter(draw(all_tokens(temperature), count))
    expected = PROBABILITIES ** (1 / temperature)
    expected /= expected.sum()
    # Five standard deviations of a share of at most one half.
    assert [counts[token] / count for token in range(5)] == pytest.approx(expected, abs=0.025)


def test_seed_repeats_and_another_one_differs() -> None:
    first, again = (draw(Sampling(1.0, seed=7)) for _ in range(2))
    assert first == again
    assert first != draw(Sampling(1.0, seed=8))


def test_without_seed_draws_differ() -> None:
    assert draw(Sampling(1.0)) != draw(Sampling(1.0))


@pytest.mark.parametrize('temperature', [1e-6, 1e-3])
def test_low_temperature_is_greedy(temperature: float) -> None:
    assert set(draw(all_tokens(temperature))) == {2}


def test_impossible_tokens_are_never_drawn() -> None:
    logits = np.array([-np.inf, 1.0, -np.inf, 1.0], np.float32)
    assert set(draw(all_tokens(5.0), logits=logits)) == {1, 3}


@given(
    logits=st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=20),
    temperature=st.floats(1e-3, 10),
    top_k=st.integers(0, 30),
    top_p=st.floats(0, 1),
)
def test_token_is_one_of_the_k_likeliest(
    logits: list[float], temperature: float, top_k: int, top_p: float,
) -> None:
    sampling = Sampling(temperature, top_k, top_p)
    token = pick_token(np.array(logits, np.float32), sampling, np.random.default_rng(0))
    assert type(token) is int
    more_likely = sum(value > logits[token] for value in logits)
    assert more_likely < (top_k or len(logits))

"""Objectives against their equations in numpy, and gradients against differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from relens import objectives
from relens._arguments import Floats

RANDOM = np.random.default_rng(7)


def numbers(count: int, scale: float = 1.0) -> Floats:
    return (scale * RANDOM.standard_normal(count)).astype(np.float32)


def check_gradient(loss: Callable[[Any], objectives.Loss], at: Floats) -> None:
    found = loss(at)
    step = 1e-2
    for position in range(len(at)):
        moved = [at.copy(), at.copy()]
        moved[0][position] -= step
        moved[1][position] += step
        slope = (loss(moved[1]).value - loss(moved[0]).value) / (2 * step)
        assert found.gradient[position] == pytest.approx(slope, abs=5e-3)


def test_preference_ranking_is_the_paper_s_equation() -> None:
    log_probs, rewards = numbers(4), [2.0, 1.5, 0.5, -1.0]
    expected = 0.0
    for j in range(3):
        gaps = [rewards[j] - rewards[i] for i in range(j + 1, 4)]
        scores = [log_probs[j] * max(gaps)] + [log_probs[i] * gap for i, gap in zip(range(j + 1, 4), gaps)]
        expected += np.logaddexp.reduce(scores) - scores[0]
    assert objectives.pro_loss(log_probs, rewards).value == pytest.approx(expected, rel=1e-5)
    twice = objectives.pro_loss(np.concatenate([log_probs, log_probs]), [rewards, tuple(rewards)])
    assert twice.value == pytest.approx(expected, rel=1e-5)
    check_gradient(lambda at: objectives.pro_loss(at, rewards), log_probs)


def test_the_clipped_policy_loss_is_the_paper_s_equation() -> None:
    log_probs, old, advantages = numbers(6, 0.3), numbers(6, 0.3), numbers(6)
    ratio = np.exp(log_probs - old)
    expected = np.maximum(-advantages * ratio, -advantages * np.clip(ratio, 0.8, 1.2)).mean()
    found = objectives.ppo_loss(log_probs, old, advantages)
    assert found.value == pytest.approx(expected, rel=1e-5)
    assert found.statistics["ratio"] == pytest.approx(ratio.mean(), rel=1e-5)
    clipped = ((advantages > 0) & (ratio > 1.2)) | ((advantages < 0) & (ratio < 0.8))
    assert found.statistics["clip_fraction"] == pytest.approx(clipped.mean())


def test_the_value_loss_is_half_of_the_larger_square() -> None:
    values, old, returns = numbers(5), numbers(5), numbers(5)
    clipped = np.clip(values, old - 0.2, old + 0.2)
    expected = 0.5 * np.maximum((values - returns) ** 2, (clipped - returns) ** 2).mean()
    assert objectives.value_loss(values, old, returns).value == pytest.approx(expected, rel=1e-5)


def test_the_group_relative_loss_is_the_paper_s_equation() -> None:
    log_probs, old, reference = numbers(5, 0.2), numbers(5, 0.2), numbers(5, 0.2)
    advantages = np.array([1, 1, -1, -1, -1], np.float32)
    ratio, difference = np.exp(log_probs - old), reference - log_probs
    kl = np.exp(difference) - difference - 1
    tokens = np.maximum(-advantages * ratio, -advantages * np.clip(ratio, 0.8, 1.2)) + 0.04 * kl
    expected = (tokens[:2].mean() + tokens[2:].mean()) / 2
    found = objectives.grpo_loss(log_probs, old, reference, advantages, offsets=[0, 2, 5])
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.statistics["kl"] == pytest.approx(kl.mean(), rel=1e-3)


def test_advantages_follow_their_recursion() -> None:
    rewards, values = numbers(5), numbers(5)
    expected, following, advantage = np.zeros(5), 0.0, 0.0
    for token in reversed(range(5)):
        if token == 1:
            following, advantage = 0.0, 0.0
        advantage = rewards[token] + 0.9 * following - values[token] + 0.9 * 0.8 * advantage
        expected[token], following = advantage, values[token]
    found = objectives.gae(rewards, values, offsets=[0, 2, 5], gamma=0.9, lam=0.8)
    np.testing.assert_allclose(found.advantages, expected, atol=1e-5)
    np.testing.assert_allclose(found.returns, expected + values, atol=1e-5)


def test_groups_whitening_and_the_controller() -> None:
    rewards = np.array([1, 2, 3, 6], np.float32)
    groups = rewards.reshape(2, 2)
    deviation = groups.std(axis=1, ddof=1, keepdims=True) + 1e-4
    expected = (groups - groups.mean(axis=1, keepdims=True)) / deviation
    np.testing.assert_allclose(objectives.group_advantages(rewards, 2), expected.ravel(), rtol=1e-5)
    white = objectives.whiten([1.0, 2.0, 6.0])
    assert white.mean() == pytest.approx(0, abs=1e-6) and white.std() == pytest.approx(1, abs=1e-5)
    assert objectives.adaptive_kl(0.1, kl=12.0, target=6.0) == pytest.approx(0.102)

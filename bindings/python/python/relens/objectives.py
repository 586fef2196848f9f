"""The papers' objectives on numpy arrays, for teaching and for checking one's own.

Each is the function that relens trains with. A loss comes with its gradient by its first argument, of which it is a
function; everything else is constant. Arrays have one dimension; sequences lie one after the other, and ``offsets`` says
where each begins and where the last one ends.

>>> import numpy as np
>>> from relens.objectives import gae
>>> advantages, returns = gae([0.0, 0.0, 1.0], [0.1, 0.2, 0.3], gamma=1.0, lam=1.0)
>>> advantages.round(1).tolist()
[0.9, 0.8, 0.7]
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from relens import _relens
from relens._arguments import Floats, count_of, described, numbers_of, refused

__all__ = [
    "Advantages",
    "Loss",
    "adaptive_kl",
    "gae",
    "group_advantages",
    "grpo_loss",
    "ppo_loss",
    "pro_loss",
    "value_loss",
    "whiten",
]


class Loss(NamedTuple):
    """A loss.

    Attributes:
        value: the loss.
        gradient: its derivative by the first argument, float32, of the same shape.
        statistics: what a training log tells beside it.
    """

    value: float
    gradient: Floats
    statistics: dict[str, float]


class Advantages(NamedTuple):
    """What :func:`gae` returns.

    Attributes:
        advantages: how much better than expected each token turned out.
        returns: what the value estimate should have been.
    """

    advantages: Floats
    returns: Floats


def pro_loss(mean_log_probs: Any, rewards: Sequence[Any]) -> Loss:
    """Preference ranking optimization (Song et al. 2023, arXiv 2306.17492; EvdCLIP equation 6, MGQRe equation 4).

    Args:
        mean_log_probs: the length-normalised log-probabilities of all queries' candidates, one query's after the other.
        rewards: for each query its candidates' rewards, the best first; at least two. One list of numbers stands for
            one query.

    Raises:
        ValueError: for rewards that are not sorted, or of another number than the log-probabilities.
    """
    if not isinstance(rewards, (list, tuple)) or not len(rewards):
        if not hasattr(rewards, "ndim"):
            raise refused("rewards", "a list of rewards for each query", described(rewards))
    queries = [rewards] if all(isinstance(reward, (int, float)) for reward in rewards) else rewards
    if getattr(rewards, "ndim", 2) == 1:
        queries = [rewards]
    lists = [numbers_of("rewards", _listed(query)).tolist() for query in queries]
    value, gradient = _relens.pro_loss(numbers_of("mean_log_probs", mean_log_probs), lists)
    return Loss(value, gradient, {})


def ppo_loss(log_probs: Any, old_log_probs: Any, advantages: Any, clip_range: float = 0.2) -> Loss:
    """The clipped policy loss (Schulman et al. 2017, arXiv 1707.06347, equation 7), a mean over tokens.

    Args:
        log_probs: under the policy that is trained, one a token.
        old_log_probs: under the policy that wrote the tokens.
        advantages: of the tokens.
        clip_range: how far the ratio may go from 1.

    Returns:
        Statistics: ``clip_fraction``, ``ratio`` (its mean), ``approximate_kl``.
    """
    return Loss(
        *_relens.ppo_loss(
            numbers_of("log_probs", log_probs),
            numbers_of("old_log_probs", old_log_probs),
            numbers_of("advantages", advantages),
            _number("clip_range", clip_range),
        )
    )


def value_loss(values: Any, old_values: Any, returns: Any, clip_range: float = 0.2) -> Loss:
    """The clipped value loss of the same paper's implementation: half a mean over tokens.

    Args:
        values: what the value head says of each token.
        old_values: what it said when the tokens were written.
        returns: what it should say.
        clip_range: how far it may go from what it said.
    """
    value, gradient = _relens.value_loss(
        numbers_of("values", values),
        numbers_of("old_values", old_values),
        numbers_of("returns", returns),
        _number("clip_range", clip_range),
    )
    return Loss(value, gradient, {})


def grpo_loss(
    log_probs: Any,
    old_log_probs: Any,
    reference_log_probs: Any,
    advantages: Any,
    offsets: Sequence[int] | None = None,
    clip_range: float = 0.2,
    kl_coefficient: float = 0.04,
) -> Loss:
    """Group relative policy optimization (Shao et al. 2024, arXiv 2402.03300, equation 3), a mean over sequences.

    Args:
        log_probs: under the policy that is trained, one a token.
        old_log_probs: under the policy that wrote the tokens.
        reference_log_probs: under the policy that it should stay near.
        advantages: of each token's sequence; see :func:`group_advantages`.
        offsets: where sequences begin, and the end; one sequence if nothing is said.
        clip_range: how far the ratio may go from 1.
        kl_coefficient: how much the distance to the reference costs.

    Returns:
        Statistics: ``kl`` (its mean over tokens), ``clip_fraction``.
    """
    tokens = numbers_of("log_probs", log_probs)
    return Loss(
        *_relens.grpo_loss(
            tokens,
            numbers_of("old_log_probs", old_log_probs),
            numbers_of("reference_log_probs", reference_log_probs),
            numbers_of("advantages", advantages),
            _offsets(offsets, len(tokens)),
            _number("clip_range", clip_range),
            _number("kl_coefficient", kl_coefficient),
        )
    )


def gae(
    rewards: Any,
    values: Any,
    offsets: Sequence[int] | None = None,
    gamma: float = 1.0,
    lam: float = 0.95,
) -> Advantages:
    """Generalized advantage estimation (Schulman et al. 2016, arXiv 1506.02438, equations 11 and 16).

    Args:
        rewards: of each token.
        values: what the value head expected at each token.
        offsets: where sequences begin, and the end; one sequence if nothing is said.
        gamma: the discount of later rewards.
        lam: the discount of later errors of the value head.
    """
    tokens = numbers_of("rewards", rewards)
    return Advantages(
        *_relens.generalized_advantages(
            tokens,
            numbers_of("values", values),
            _offsets(offsets, len(tokens)),
            _number("gamma", gamma),
            _number("lam", lam),
        )
    )


def group_advantages(rewards: Any, group: int, scale: bool = True) -> Floats:
    """Advantages within groups of samples of one query: ``(r − mean) / (deviation + 1e-4)``.

    Args:
        rewards: of all samples, the groups one after the other.
        group: how many samples a group has, at least 2.
        scale: whether the deviation is divided by; without it, as in "Dr. GRPO".
    """
    return _relens.group_advantages(numbers_of("rewards", rewards), count_of("group", group, 2), bool(scale))


def whiten(values: Any) -> Floats:
    """The values with mean 0 and deviation 1 (the population's)."""
    return _relens.whiten(numbers_of("values", values))


def adaptive_kl(coefficient: float, kl: float, target: float, gain: float = 0.1) -> float:
    """The coefficient of a KL penalty after a batch (Ziegler et al. 2019, arXiv 1909.08593, section 2.2).

    Args:
        coefficient: before the batch.
        kl: the batch's mean KL to the reference, in nats a sequence.
        target: the KL to hold.
        gain: how fast the coefficient follows.
    """
    return _relens.adaptive_kl(
        _number("coefficient", coefficient), _number("kl", kl), _number("target", target), _number("gain", gain)
    )


def _listed(values: Any) -> Any:
    return list(values) if isinstance(values, tuple) else values


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise refused(name, "a finite number", described(value))
    return float(value)


def _offsets(offsets: object, tokens: int) -> list[int]:
    if offsets is None:
        return [0, tokens]
    try:
        return [count_of("offsets", offset, 0) for offset in offsets]  # type: ignore[attr-defined]
    except TypeError:
        raise refused("offsets", "a list of whole numbers", described(offsets)) from None

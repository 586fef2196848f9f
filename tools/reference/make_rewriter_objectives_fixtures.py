"""Golden values and gradients of the objectives that rewriters learn by, from PyTorch.

    python3 tools/reference/make_rewriter_objectives_fixtures.py crates/relens-training/tests/fixtures

Writes rewriter_objectives.json. Written from the papers' equations with explicit loops and autograd in f64,
independently of the Rust code.
"""

import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

GENERATOR = torch.Generator().manual_seed(23)


def randn(*shape, scale=1.0):
    # Rounded to f32, so that Rust reads the very same numbers.
    return (torch.randn(*shape, generator=GENERATOR, dtype=torch.float64) * scale).float().double()


def leaf(tensor):
    return tensor.clone().requires_grad_(True)


def numbers(tensor):
    return tensor.detach().flatten().tolist()


def spans(offsets):
    return list(zip(offsets[:-1], offsets[1:]))


def cross_entropy_cases():
    cases = []
    for smoothing in (0.0, 0.1):
        logits = leaf(randn(6, 37, scale=3.0))
        targets = [3, 36, 0, 17, 17, 5]
        mask = [True, True, False, True, True, False]
        kept = [i for i, counts in enumerate(mask) if counts]
        loss = F.cross_entropy(
            logits[kept], torch.tensor([targets[i] for i in kept]), label_smoothing=smoothing
        )
        loss.backward()
        cases.append({
            "label_smoothing": smoothing, "rows": 6, "classes": 37, "logits": numbers(logits),
            "targets": targets, "mask": mask, "loss": loss.item(), "gradient": numbers(logits.grad),
        })
    return cases


def pro_case(lengths, rewards, scale):
    """Equations of METHOD: mean log-probabilities of candidates, gaps, -log of a weighted softmax, by loops."""
    offsets = [0]
    for group in lengths:
        for length in group:
            offsets.append(offsets[-1] + length)
    tokens = leaf(-randn(offsets[-1]).abs() * scale)
    means = [tokens[a:b].mean() for a, b in spans(offsets)]
    total, first = 0.0, 0
    for group in rewards:
        group_means = means[first:first + len(group)]
        for j in range(len(group) - 1):
            gaps = [group[j] - group[i] for i in range(j + 1, len(group))]
            own = torch.exp(group_means[j] * max(gaps))
            others = sum(torch.exp(group_means[i] * gap) for i, gap in zip(range(j + 1, len(group)), gaps))
            total = total - torch.log(own / (own + others))
        first += len(group)
    loss = total / len(rewards)
    loss.backward()
    return {
        "offsets": offsets, "rewards": rewards, "token_log_probs": numbers(tokens), "loss": loss.item(),
        "gradient": numbers(tokens.grad),
    }


def pro_cases():
    return [
        pro_case([[3, 1, 4, 2, 5]], [[1.5, 0.75, 0.5, -0.25, -2.0]], 1.0),
        pro_case([[2, 3], [4, 1, 2]], [[0.5, -0.5], [2.0, 2.0, -1.0]], 2.0),
        pro_case([[1, 2, 2]], [[0.125, 0.0625, 0.0]], 0.3),
    ]


def gae_cases():
    cases = []
    offsets = [0, 4, 5, 11]
    for gamma, lam in ((1.0, 0.95), (0.9, 0.5), (1.0, 1.0)):
        rewards, values = randn(11), randn(11)
        advantages = torch.zeros(11, dtype=torch.float64)
        for a, b in spans(offsets):
            for t in range(a, b):
                # The sum of equation 16, not its recursion.
                for k in range(t, b):
                    following = values[k + 1] if k + 1 < b else 0.0
                    delta = rewards[k] + gamma * following - values[k]
                    advantages[t] += (gamma * lam) ** (k - t) * delta
        whitened = (advantages - advantages.mean()) * torch.rsqrt(advantages.var(unbiased=False) + 1e-8)
        cases.append({
            "gamma": gamma, "lambda": lam, "offsets": offsets, "rewards": numbers(rewards),
            "values": numbers(values), "advantages": numbers(advantages),
            "returns": numbers(advantages + values), "whitened": numbers(whitened),
        })
    return cases


def ppo_case():
    old = -randn(12).abs()
    new = leaf((old + randn(12, scale=0.3)).float().double())
    advantages = randn(12)
    ratio = torch.exp(new - old)
    loss = torch.max(-advantages * ratio, -advantages * torch.clamp(ratio, 0.8, 1.2)).mean()
    loss.backward()
    clipped = (-advantages * torch.clamp(ratio, 0.8, 1.2) > -advantages * ratio).double().mean()
    old_values, returns = randn(12), randn(12)
    values = leaf((old_values + randn(12, scale=0.4)).float().double())
    limited = torch.max(torch.min(values, old_values + 0.2), old_values - 0.2)
    value_loss = 0.5 * torch.max((values - returns) ** 2, (limited - returns) ** 2).mean()
    value_loss.backward()
    return {
        "log_probs": numbers(new), "old_log_probs": numbers(old), "advantages": numbers(advantages),
        "clip_range": 0.2, "loss": loss.item(), "gradient": numbers(new.grad), "clip_fraction": clipped.item(),
        "ratio": ratio.mean().item(), "approximate_kl": (0.5 * ((new - old) ** 2).mean()).item(),
        "values": numbers(values), "old_values": numbers(old_values), "returns": numbers(returns),
        "value_loss": value_loss.item(), "value_gradient": numbers(values.grad),
    }


def grpo_case():
    offsets, group = [0, 3, 5, 9, 10], 2
    rewards = [0.5, -0.25, 1.0, 0.75]
    grouped = torch.tensor(rewards, dtype=torch.float64).reshape(-1, group)
    normalised = (grouped - grouped.mean(1, keepdim=True)) / (grouped.std(1, keepdim=True) + 1e-4)
    per_sequence = normalised.flatten()
    old = -randn(10).abs()
    new = leaf((old + randn(10, scale=0.3)).float().double())
    reference = (old + randn(10, scale=0.2)).float().double()
    losses, kls = [], []
    for sequence, (a, b) in enumerate(spans(offsets)):
        ratio = torch.exp(new[a:b] - old[a:b])
        advantage = per_sequence[sequence]
        surrogate = torch.min(ratio * advantage, torch.clamp(ratio, 0.8, 1.2) * advantage)
        kl = torch.exp(reference[a:b] - new[a:b]) - (reference[a:b] - new[a:b]) - 1
        kls.append(kl)
        losses.append(-(surrogate - 0.04 * kl).mean())
    loss = torch.stack(losses).mean()
    loss.backward()
    return {
        "offsets": offsets, "group": group, "rewards": rewards, "group_advantages": numbers(per_sequence),
        "log_probs": numbers(new), "old_log_probs": numbers(old), "reference_log_probs": numbers(reference),
        "clip_range": 0.2, "kl_coefficient": 0.04, "loss": loss.item(), "gradient": numbers(new.grad),
        "kl": torch.cat(kls).mean().item(),
    }


def main():
    fixture = {
        "torch": torch.__version__, "cross_entropy": cross_entropy_cases(), "pro": pro_cases(),
        "gae": gae_cases(), "ppo": ppo_case(), "grpo": grpo_case(),
    }
    path = Path(sys.argv[1]) / "rewriter_objectives.json"
    path.write_text(json.dumps(fixture) + "\n")
    print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()

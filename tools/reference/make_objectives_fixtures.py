"""Golden values and gradients of the training objectives and of AdamW, from PyTorch.

    python3 tools/reference/make_objectives_fixtures.py crates/relens-training/tests/fixtures

Writes objectives.json and adamw.json. Everything is computed by PyTorch's own cross-entropy, autograd and
torch.optim.AdamW, written independently of the Rust code.
"""

import json
import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F

IMAGE_OF_TEXT = [0, 0, 1, 2, 2, 2, 3]


def inputs():
    generator = torch.Generator().manual_seed(11)
    images = F.normalize(torch.randn(4, 6, generator=generator, dtype=torch.float64), dim=-1)
    texts = F.normalize(torch.randn(7, 6, generator=generator, dtype=torch.float64), dim=-1)
    teacher = torch.randn(4, 7, generator=generator, dtype=torch.float64) * 0.3
    return images, texts, teacher


def positives():
    mask = torch.zeros(4, 7, dtype=torch.float64)
    for text, image in enumerate(IMAGE_OF_TEXT):
        mask[image, text] = 1
    return mask


def soft_cross_entropy(logits, targets):
    return F.cross_entropy(logits, targets)


def smooth(targets, epsilon):
    return (1 - epsilon) * targets + epsilon / targets.shape[1]


def hard_weights(similarities, mask, beta):
    """Robinson et al. 2021: weights exp(beta s), normalised to mean 1 over each row's negatives."""
    weights = torch.ones_like(similarities)
    for row in range(similarities.shape[0]):
        negative = mask[row] == 0
        raw = torch.exp(beta * similarities[row, negative])
        weights[row, negative] = raw / raw.mean()
    return weights.log().detach()


def vse_triplet(similarities, mask, margin):
    """VSE++ max of hinges, by explicit loops."""
    terms, pairs = [], int(mask.sum())
    for text, image in enumerate(IMAGE_OF_TEXT):
        own = similarities[image, text]
        other_images = torch.stack([similarities[i, text] for i in range(4) if i != image])
        other_texts = torch.stack([similarities[image, t] for t in range(7) if mask[image, t] == 0])
        terms.append(F.relu(margin + other_images.max() - own))
        terms.append(F.relu(margin + other_texts.max() - own))
    return torch.stack(terms).sum() / pairs


def objective(images, texts, logit_scale, teacher, case):
    mask = positives()
    similarities = images @ texts.t()
    logits = logit_scale.exp() * similarities
    to_text, to_image = mask / mask.sum(1, keepdim=True), mask.t()
    if case["teacher_weight"] > 0:
        weight, scale = case["teacher_weight"], case["teacher_scale"]
        to_text = (1 - weight) * to_text + weight * torch.softmax(scale * teacher, 1)
        to_image = (1 - weight) * to_image + weight * torch.softmax(scale * teacher.t(), 1)
    to_text, to_image = smooth(to_text, case["label_smoothing"]), smooth(to_image, case["label_smoothing"])
    image_logits, text_logits = logits, logits.t()
    if case["hard_negative_beta"] > 0:
        image_logits = image_logits + hard_weights(similarities, mask, case["hard_negative_beta"])
        text_logits = text_logits + hard_weights(similarities.t(), mask.t(), case["hard_negative_beta"])
    if case["positive_reduction"] == "log-sum-exp":
        probabilities = (torch.softmax(image_logits, 1) * mask).sum(1)
        image_to_text = -probabilities.log().mean()
    else:
        image_to_text = soft_cross_entropy(image_logits, to_text)
    text_to_image = soft_cross_entropy(text_logits, to_image)
    loss = 0.5 * (image_to_text + text_to_image)
    if case["triplet_weight"] > 0:
        loss = loss + case["triplet_weight"] * vse_triplet(similarities, mask, case["triplet_margin"])
    return loss, image_to_text, text_to_image


def objective_cases():
    plain = dict(label_smoothing=0.0, positive_reduction="mean", hard_negative_beta=0.0, triplet_weight=0.0,
                 triplet_margin=0.2, teacher_weight=0.0, teacher_scale=10.0, logit_scale=math.log(1 / 0.07))
    changes = {
        "joint positives": {},
        "log-sum-exp": dict(positive_reduction="log-sum-exp"),
        "log-sum-exp, scale 100": dict(positive_reduction="log-sum-exp", logit_scale=math.log(100)),
        "label smoothing": dict(label_smoothing=0.1),
        "teacher": dict(teacher_weight=0.6),
        "hard negatives": dict(hard_negative_beta=2.0),
        "triplet": dict(triplet_weight=0.5),
        "everything": dict(label_smoothing=0.05, hard_negative_beta=1.0, triplet_weight=0.3, teacher_weight=0.4),
    }
    for name, change in changes.items():
        case = {**plain, **change}
        images, texts, teacher = inputs()
        logit_scale = torch.tensor(case["logit_scale"], dtype=torch.float64)
        for tensor in (images, texts, logit_scale):
            tensor.requires_grad_(True)
        loss, image_to_text, text_to_image = objective(images, texts, logit_scale, teacher, case)
        loss.backward()
        yield {
            "name": name, **case,
            "loss": loss.item(), "image_to_text": image_to_text.item(), "text_to_image": text_to_image.item(),
            "gradient_images": images.grad.tolist(), "gradient_texts": texts.grad.tolist(),
            "gradient_logit_scale": logit_scale.grad.item(),
        }


def adamw_case():
    """Ten steps on a fixed non-linear loss; one decayed matrix at half learning rate, one undecayed bias."""
    generator = torch.Generator().manual_seed(5)
    weight = torch.randn(3, 4, generator=generator)
    bias = torch.randn(4, generator=generator)
    x = torch.randn(6, 3, generator=generator)
    y = torch.randn(6, 4, generator=generator)
    result = {"weight": weight.tolist(), "bias": bias.tolist(), "x": x.tolist(), "y": y.tolist(), "steps": []}
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        [{"params": [weight], "lr": 0.005, "weight_decay": 0.2}, {"params": [bias], "lr": 0.01, "weight_decay": 0.0}],
        betas=(0.9, 0.98), eps=1e-6)
    for _ in range(10):
        optimizer.zero_grad()
        loss = ((torch.tanh(x @ weight + bias) - y) ** 2).sum()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([weight, bias], 1.5)
        optimizer.step()
        result["steps"].append({"loss": loss.item(), "gradient_norm": norm.item(),
                                "weight": weight.detach().tolist(), "bias": bias.detach().tolist()})
    return result


def main():
    directory = Path(sys.argv[1])
    images, texts, teacher = inputs()
    fixture = {
        "torch": torch.__version__, "image_of_text": IMAGE_OF_TEXT, "images": images.tolist(), "texts": texts.tolist(),
        "teacher": teacher.tolist(), "cases": list(objective_cases()),
    }
    (directory / "objectives.json").write_text(json.dumps(fixture) + "\n")
    (directory / "adamw.json").write_text(json.dumps({"torch": torch.__version__, **adamw_case()}) + "\n")


if __name__ == "__main__":
    main()

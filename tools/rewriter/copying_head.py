"""Gives a fresh T5 one head that copies, so that training does not have to find it.

    relens train denoise --config configs/relens-mini-rewriter/1-denoise.toml    # stop it when it says "step 0"
    python3 tools/rewriter/copying_head.py runs/relens-mini-rewriter/1-denoise/initial CAPTIONS.txt OUT

A rewriter copies most of its query. A T5 from scratch finds out how late: 30,000 captions are so regular that guessing
the next word pays for thousands of steps (EXPERIMENTS.md). The circuit it lacks is an induction head (Olsson et al.
2022, arXiv 2209.11895), and it can be written down:

- encoder block 0, head 0 looks at the token before (relative position bias) and writes it into a subspace;
- in the last decoder block, head 0 of the cross-attention has the last written token as query, the token before as
  key, and the token itself as value.

Maps from what these layers read are fitted by ridge regression on the hidden states of the captions. The result has the
same layout and loads as any T5.
"""

import argparse
import shutil
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast, T5ForConditionalGeneration

WRITTEN, KEYS, VALUES = 1.0, 4.0, 4.0
"""Lengths of what the head writes, of queries and keys, and of values, in units of a normalised embedding."""


def normalised(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


def ridge(inputs: torch.Tensor, outputs: torch.Tensor, strength: float = 1e-2) -> torch.Tensor:
    """The map W of least |inputs·Wᵀ − outputs|², `[out, in]`."""
    scale = strength * inputs.pow(2).mean() * len(inputs)
    gram = inputs.T @ inputs + scale * torch.eye(inputs.shape[1])
    return torch.linalg.solve(gram, inputs.T @ outputs).T


class Hidden:
    """What the two attentions read while captions are copied."""

    def __init__(self, model: T5ForConditionalGeneration, block: torch.nn.Module) -> None:
        self.model, self.encoded, self.decoding = model, [], []
        self.hooks = [
            model.encoder.register_forward_hook(lambda _, __, out: self.encoded.append(out[0][0])),
            block.layer_norm.register_forward_hook(lambda _, __, out: self.decoding.append(out[0])),
        ]

    def read(self, sequences: list[torch.Tensor]) -> None:
        with torch.inference_mode():
            for ids in sequences:
                self.model(input_ids=ids[None], labels=ids[None])
        for hook in self.hooks:
            hook.remove()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("captions", type=Path, help="some dozens of captions, one a line")
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    model = T5ForConditionalGeneration.from_pretrained(arguments.source).float().eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(arguments.source / "tokenizer.json"))
    end = model.config.eos_token_id
    lines = arguments.captions.read_text(encoding="utf-8").splitlines()
    sequences = [torch.tensor([*tokenizer.encode(line.lower()), end]) for line in lines if line.strip()]
    before = model.encoder.block[0].layer[0]
    copying = model.decoder.block[-1].layer[1]
    head = slice(0, model.config.d_kv)
    tokens = normalised(model.shared.weight.data, before.layer_norm.weight.data)
    directions = torch.linalg.svd(tokens - tokens.mean(0), full_matrices=False)[2]
    # Not the strongest directions, which say what all tokens have in common; and not the weakest, where is written.
    middle = directions[4 : 4 + 2 * model.config.d_kv]
    keys, values = (
        torch.linalg.qr(torch.randn(len(middle), len(middle)))[0][: model.config.d_kv] @ middle for _ in range(2)
    )
    with torch.no_grad():
        attention = before.SelfAttention
        attention.q.weight[head] = 0
        attention.k.weight[head] = 0
        attention.relative_attention_bias.weight[:, 0] = -10
        attention.relative_attention_bias.weight[1, 0] = 10  # the bucket of the token before
        attention.v.weight[head] = keys
        attention.o.weight[:, head] = WRITTEN * directions[-model.config.d_kv :].T
    hidden = Hidden(model, copying)
    hidden.read(sequences)
    wanted = torch.cat([tokens[ids[:-1]] @ keys.T for ids in sequences])
    length = wanted.pow(2).sum(-1).mean().sqrt()
    key = ridge(torch.cat([states[1:] for states in hidden.encoded]), wanted)
    query = ridge(torch.cat([states[1:] for states in hidden.decoding]), wanted)
    own = torch.cat([tokens[ids] @ values.T for ids in sequences])
    with torch.no_grad():
        attention = copying.EncDecAttention
        attention.q.weight[head] = query * KEYS / length
        attention.k.weight[head] = key * KEYS / length
        attention.v.weight[head] = ridge(torch.cat(hidden.encoded), own)
        attention.o.weight[:, head] = VALUES * values.T
    shutil.copytree(arguments.source, arguments.target, dirs_exist_ok=True)
    model.save_pretrained(arguments.target)


if __name__ == "__main__":
    main()

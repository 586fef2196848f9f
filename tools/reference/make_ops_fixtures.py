"""Values and gradients of the fused kernels, from PyTorch.

Writes crates/relens-models/tests/fixtures/ops.safetensors. For every case: the inputs `<case>.<input>`, the output
`<case>.output`, the gradient that is fed in `<case>.upstream`, and the gradients `<case>.d_<input>`.

    python3 tools/reference/make_ops_fixtures.py
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

FIXTURE = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures/ops.safetensors"
OFFSETS = [0, 5, 6, 17, 20]
HEADS, HEAD_DIM = 3, 8

generator = torch.Generator().manual_seed(20)
tensors: dict[str, torch.Tensor] = {}


def random(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).mul(scale).float()


def record(case: str, function, constants: dict | None = None, **inputs: torch.Tensor) -> None:
    """Runs `function` in f64 on f32 inputs, so that the file holds the true values, and stores all it saw."""
    leaves = {name: value.double().requires_grad_() for name, value in inputs.items()}
    output = function(*leaves.values(), **{name: value.double() for name, value in (constants or {}).items()})
    upstream = random(*output.shape)
    gradients = torch.autograd.grad(output, list(leaves.values()), upstream.double())
    for name, value in {**inputs, **(constants or {})}.items():
        tensors[f"{case}.{name}"] = value
    tensors[f"{case}.output"] = output.detach().float()
    tensors[f"{case}.upstream"] = upstream
    for name, gradient in zip(leaves, gradients):
        tensors[f"{case}.d_{name}"] = gradient.float()


def heads_of(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.view(x.shape[0], heads, -1).transpose(0, 1)


def attend(q, k, v, causal: bool, heads: int = HEADS, key_value_heads: int = HEADS, scale=None, keys=None):
    outputs = []
    keys = keys or OFFSETS
    spans = zip(zip(OFFSETS, OFFSETS[1:]), zip(keys, keys[1:]))
    for (start, end), (key_start, key_end) in spans:
        group = heads // key_value_heads
        key = heads_of(k[key_start:key_end], key_value_heads).repeat_interleave(group, 0)
        value = heads_of(v[key_start:key_end], key_value_heads).repeat_interleave(group, 0)
        mask = None
        if causal:
            queries, count = end - start, key_end - key_start
            mask = torch.ones(queries, count, dtype=torch.bool).tril(count - queries)
        query = heads_of(q[start:end], heads)
        output = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
        outputs.append(output.transpose(0, 1).reshape(end - start, -1))
    return torch.cat(outputs)


def rotate(x, cos, sin, interleaved: bool):
    rotary_dim = 2 * cos.shape[-1]
    turned, rest = x[..., :rotary_dim], x[..., rotary_dim:]
    cos, sin = cos[:, None], sin[:, None]
    if interleaved:
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([a * cos - b * sin, b * cos + a * sin], -1)
    return torch.cat([turned, rest], -1)


def main() -> None:
    record("softmax", lambda x: x.softmax(-1), x=random(3, 4, 37, scale=3))
    record("log_softmax", lambda x: x.log_softmax(-1), x=random(5, 37, scale=3))
    for name, function in {
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "relu": F.relu,
        "relu6": F.relu6,
        "silu": F.silu,
        "tanh": torch.tanh,
    }.items():
        record(name, function, x=random(7, 33, scale=3))

    width = 40
    norm = {"weight": 1 + random(width, scale=0.3), "bias": random(width, scale=0.3)}
    shifted = random(2, 9, width) + 3
    record("layer_norm", lambda x, weight, bias: F.layer_norm(x, (width,), weight, bias, 1e-5), x=shifted, **norm)
    record("rms_norm", lambda x, weight: F.rms_norm(x, (width,), weight, 1e-6), x=shifted, weight=norm["weight"])
    record("l2_normalize", lambda x: F.normalize(x, dim=-1), x=random(6, 35))

    record(
        "linear",
        lambda x, weight, bias: x @ weight + bias,
        x=random(4, 5, 24),
        weight=random(24, 50, scale=0.2),
        bias=random(50),
    )
    record("linear_without_bias", lambda x, weight: x @ weight, x=random(5, 24), weight=random(24, 50, scale=0.2))

    tokens, packed = OFFSETS[-1], HEADS * HEAD_DIM
    for name, causal in {"attention": False, "attention_causal": True}.items():
        record(name, lambda qkv: attend(*qkv.chunk(3, -1), causal), qkv=random(tokens, 3 * packed))
    keys = [0, 5, 9, 20, 27]
    record(
        "attention_grouped",
        lambda q, k, v: attend(q, k, v, True, 4, 2, 0.7, keys),
        q=random(tokens, 4 * HEAD_DIM),
        k=random(keys[-1], 2 * HEAD_DIM),
        v=random(keys[-1], 2 * HEAD_DIM),
    )
    pool = lambda x: torch.stack([x[start:end].mean(0) for start, end in zip(OFFSETS, OFFSETS[1:])])
    record("mean_pool", pool, x=random(tokens, 21))

    ids = torch.tensor([3, 0, 7, 3, 3, 10])
    tensors["embedding.ids"] = ids.float()
    record("embedding", lambda table: F.embedding(ids, table), table=random(11, 19))

    angles = random(tokens, 3, scale=2)
    constants = {"cos": angles.cos(), "sin": angles.sin()}
    for name, interleaved in {"rotary": False, "rotary_interleaved": True}.items():
        x = random(tokens, HEADS, HEAD_DIM)
        record(name, lambda x, cos, sin: rotate(x, cos, sin, interleaved), constants, x=x)

    versions = {"torch": torch.__version__}
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, FIXTURE, versions)
    print(f"{FIXTURE}: {len(tensors)} tensors, {FIXTURE.stat().st_size} bytes")


if __name__ == "__main__":
    main()

"""Tiny seeded decoders of the Llama family, in Hugging Face's layout, with what they compute.

Writes one directory for each model into crates/relens-models/tests/fixtures/llama: config.json, model.safetensors and
golden.safetensors with
- ids (packed), offsets, logits [total_tokens, vocabulary];
- upstream [total_tokens, vocabulary] and gradient.NAME of (logits * upstream).sum() for every tensor;
- generated: the ids of greedy decoding after each sequence, 8 for each.

Baichuan 2 has no class in transformers: its two models are written here from their published definition.

    python3 tools/reference/make_llama_fixtures.py
"""

import json
import math
import shutil
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures/llama"
VOCABULARY = 40
LENGTHS = [19, 1, 7]
NEW_TOKENS = 8
SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": None,
}


def randomise(model: nn.Module, seed: int) -> None:
    """Moves every parameter, norms and biases too."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.add_(noise * 0.3)
            else:
                parameter.copy_(noise * parameter.shape[1] ** -0.5)


def logits_of(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    output = model(ids[None])
    return (output.logits if hasattr(output, "logits") else output)[0]


def greedy(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        for _ in range(NEW_TOKENS):
            ids = torch.cat([ids, logits_of(model, ids)[-1:].argmax(-1)])
    return ids[-NEW_TOKENS:]


def write(name: str, model: nn.Module, config: dict, seed: int) -> None:
    directory = FIXTURES / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    model.eval()
    randomise(model, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    sequences = [torch.randint(3, VOCABULARY, (length,), generator=generator) for length in LENGTHS]
    logits = torch.cat([logits_of(model, ids) for ids in sequences])
    upstream = torch.randn(logits.shape, generator=generator)
    model.zero_grad()
    (logits * upstream).sum().backward()
    golden = {
        "ids": torch.cat(sequences).int(),
        "offsets": torch.tensor([0, *LENGTHS]).cumsum(0).int(),
        "logits": logits.detach(),
        "upstream": upstream,
        "generated": torch.cat([greedy(model, ids) for ids in sequences]).int(),
    }
    # Parameters that two names share are stored once, as transformers does.
    parameters = dict(model.named_parameters())
    golden |= {f"gradient.{name}": parameter.grad for name, parameter in parameters.items()}
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    tensors = {name: parameter.detach().contiguous() for name, parameter in parameters.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    save_file({key: value.contiguous() for key, value in golden.items()}, directory / "golden.safetensors")
    print(f"{name}: {sum(p.numel() for p in parameters.values())} parameters")


def transformers_model(name: str, kind: str, seed: int, older: dict | None = None, **fields) -> None:
    """`older` replaces the position fields by those that configurations had before transformers 5."""
    config_class = getattr(transformers, f"{kind}Config")
    config = config_class(**SIZES, **fields)
    config._attn_implementation = "eager"
    model = getattr(transformers, f"{kind}ForCausalLM")(config)
    saved = config.to_dict()
    keys = [*SIZES, "model_type", "num_key_value_heads", "head_dim", "hidden_act", "tie_word_embeddings"]
    keys += ["attention_bias", "mlp_bias", "rope_parameters", "use_sliding_window"]
    saved = {key: saved[key] for key in keys if saved.get(key) is not None}
    saved["architectures"] = [f"{kind}ForCausalLM"]
    if older is not None:
        del saved["rope_parameters"]
        saved |= older
    write(name, model, saved, seed)


class BaichuanAttention(nn.Module):
    """Multi-head attention with packed projections; positions by rotation (7B) or by ALiBi (13B)."""

    def __init__(self, width: int, heads: int, alibi: bool) -> None:
        super().__init__()
        self.heads, self.alibi = heads, alibi
        self.W_pack = nn.Linear(width, 3 * width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        tokens, width = hidden.shape
        query, key, value = self.W_pack(hidden).view(tokens, 3, self.heads, -1).permute(1, 2, 0, 3)
        size = query.shape[-1]
        positions = torch.arange(tokens)
        bias = torch.full((tokens, tokens), -math.inf).triu(1)
        if self.alibi:
            bias = bias + alibi_slopes(self.heads)[:, None, None] * positions[None, None, :]
        else:
            frequencies = 10000.0 ** (-torch.arange(0, size, 2) / size)
            angles = torch.cat([positions[:, None] * frequencies] * 2, -1)
            query, key = rotated(query, angles), rotated(key, angles)
        scores = query @ key.transpose(1, 2) / math.sqrt(size) + bias
        mixed = scores.softmax(-1) @ value
        return self.o_proj(mixed.transpose(0, 1).reshape(tokens, width))


def rotated(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, -1)
    return x * angles.cos() + torch.cat([-second, first], -1) * angles.sin()


def alibi_slopes(heads: int) -> torch.Tensor:
    """Press et al. (2022), for any number of heads."""

    def of_power(count: int) -> list[float]:
        ratio = 2.0 ** (-8.0 / count)
        return [ratio ** (i + 1) for i in range(count)]

    power = 2 ** math.floor(math.log2(heads))
    return torch.tensor(of_power(power) + of_power(2 * power)[0::2][: heads - power])


class BaichuanFeedForward(nn.Module):
    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class BaichuanLayer(nn.Module):
    def __init__(self, sizes: dict, alibi: bool) -> None:
        super().__init__()
        width = sizes["hidden_size"]
        self.self_attn = BaichuanAttention(width, sizes["num_attention_heads"], alibi)
        self.mlp = BaichuanFeedForward(width, sizes["intermediate_size"])
        self.input_layernorm = nn.RMSNorm(width, eps=sizes["rms_norm_eps"])
        self.post_attention_layernorm = nn.RMSNorm(width, eps=sizes["rms_norm_eps"])

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = hidden + self.self_attn(self.input_layernorm(hidden))
        return hidden + self.mlp(self.post_attention_layernorm(hidden))


class Baichuan(nn.Module):
    """Baichuan 2 (Yang et al., 2023), with the head's rows normalised."""

    def __init__(self, sizes: dict, alibi: bool) -> None:
        super().__init__()
        layers = [BaichuanLayer(sizes, alibi) for _ in range(sizes["num_hidden_layers"])]
        self.model = nn.Module()
        self.model.embed_tokens = nn.Embedding(VOCABULARY, sizes["hidden_size"])
        self.model.layers = nn.ModuleList(layers)
        self.model.norm = nn.RMSNorm(sizes["hidden_size"], eps=sizes["rms_norm_eps"])
        self.lm_head = nn.Linear(sizes["hidden_size"], VOCABULARY, bias=False)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        hidden = self.model.embed_tokens(ids[0])
        for layer in self.model.layers:
            hidden = layer(hidden)
        return F.linear(self.model.norm(hidden), F.normalize(self.lm_head.weight))[None]


def baichuan_model(name: str, alibi: bool, seed: int, heads: int) -> None:
    sizes = SIZES | {"num_attention_heads": heads, "hidden_size": 4 * heads}
    config = {**sizes, "model_type": "baichuan", "hidden_act": "silu", "tie_word_embeddings": False}
    config |= {"architectures": ["BaichuanForCausalLM"], "model_max_length": 64}
    if alibi:
        del config["max_position_embeddings"]
    write(name, Baichuan(sizes, alibi), config, seed)


def main() -> None:
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    llama3 |= {"original_max_position_embeddings": 16}
    transformers_model("llama2", "Llama", 1, older={}, num_key_value_heads=4)
    transformers_model(
        "llama3", "Llama", 2, num_key_value_heads=2, head_dim=8, rope_parameters={**llama3, "rope_theta": 50.0}
    )
    transformers_model(
        "vicuna",
        "Llama",
        3,
        older={"rope_theta": 100.0, "rope_scaling": {"type": "linear", "factor": 4.0}},
        num_key_value_heads=4,
        rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 100.0},
    )
    transformers_model(
        "smollm2", "Llama", 4, num_key_value_heads=1, tie_word_embeddings=True, attention_bias=True, mlp_bias=True
    )
    transformers_model("qwen2", "Qwen2", 5, num_key_value_heads=2, rope_parameters={"rope_theta": 1e6, "rope_type": "default"})
    transformers_model("qwen3", "Qwen3", 6, num_key_value_heads=2, head_dim=8, tie_word_embeddings=True)
    baichuan_model("baichuan2_7b", False, 7, heads=4)
    baichuan_model("baichuan2_13b", True, 8, heads=6)


if __name__ == "__main__":
    main()

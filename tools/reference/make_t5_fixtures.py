"""Tiny seeded T5s: logits, gradients of every parameter, and what beam search writes, from Hugging Face transformers.

Writes into crates/relens-models/tests/fixtures for every version of the network NAME.safetensors (weights, golden
logits and gradients) and NAME.json (its config.json, the batch, the continuations).

    python3 tools/reference/make_t5_fixtures.py
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import T5Config, T5ForConditionalGeneration

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures"

SIZES = dict(
    vocab_size=48,
    d_model=16,
    d_kv=6,
    d_ff=28,
    num_layers=2,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
    n_positions=64,
    eos_token_id=1,
    pad_token_id=0,
    decoder_start_token_id=0,
)
VERSIONS = {
    "t5_v1_0": dict(feed_forward_proj="relu", tie_word_embeddings=True),
    "t5_v1_1": dict(feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_decoder_layers=3),
    "t5_silu": dict(
        feed_forward_proj="gated-silu", tie_word_embeddings=True, num_decoder_layers=1, eos_token_id=[1, 7, 9]
    ),
}
PROMPT_LENGTHS = [7, 1, 12, 40]
TARGET_LENGTHS = [5, 3, 26, 1]
BEAM_SEARCHES = [
    dict(num_beams=1),
    dict(num_beams=4, length_penalty=1.0),
    dict(num_beams=4, length_penalty=0.0),
    dict(num_beams=3, length_penalty=2.0),
]
NEW_TOKENS = 12
SEED = 20


def build(version: dict) -> T5ForConditionalGeneration:
    config = T5Config(**{**SIZES, **version}, attn_implementation="eager")
    model = T5ForConditionalGeneration(config).eval()
    if not version["tie_word_embeddings"]:
        model.lm_head.weight = torch.nn.Parameter(torch.randn(SIZES["vocab_size"], SIZES["d_model"]))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norm weights start at one, and small weights hide errors: move all of them.
            scale = 0.5 if "relative_attention_bias" in name or "shared" in name else 0.18
            parameter.add_(torch.randn_like(parameter) * scale)
            # Flatter probabilities, so that beams differ and some of them end.
            if "shared" in name or "lm_head" in name:
                parameter.mul_(0.4)
    return model


def stored(model: T5ForConditionalGeneration, tied: bool) -> dict[str, torch.Tensor]:
    names = {name: value for name, value in model.named_parameters()}
    return {name: value for name, value in names.items() if not (tied and name == "lm_head.weight")}


def main() -> None:
    for seed, (name, version) in enumerate(VERSIONS.items()):
        torch.manual_seed(SEED + seed)
        model = build(version)
        tied = version["tie_word_embeddings"]
        tensors = {key: value.detach().clone() for key, value in stored(model, tied).items()}
        vocabulary = SIZES["vocab_size"]
        prompts = [torch.randint(2, vocabulary, (length,)).tolist() for length in PROMPT_LENGTHS]
        targets = [torch.randint(2, vocabulary, (length - 1,)).tolist() + [1] for length in TARGET_LENGTHS]
        upstream = torch.randn(sum(TARGET_LENGTHS), vocabulary)

        # Generation runs in the precision that it has here, the comparison of numbers against a better one.
        ends = model.config.eos_token_id
        ends = [ends] if isinstance(ends, int) else ends
        golden = {"config": {**SIZES, **version}, "prompts": prompts, "targets": targets, "searches": []}
        for search in BEAM_SEARCHES:
            beams = search["num_beams"]
            for prompt in prompts:
                output = model.generate(
                    torch.tensor([prompt]),
                    max_new_tokens=NEW_TOKENS,
                    do_sample=False,
                    use_cache=False,
                    num_return_sequences=beams,
                    return_dict_in_generate=True,
                    output_scores=True,
                    **search,
                )
                rows = [strip(row, ends) for row in output.sequences[:, 1:].tolist()]
                scores = [] if beams == 1 else output.sequences_scores.tolist()
                golden["searches"].append({**search, "prompt": prompt, "sequences": rows, "scores": scores})

        model.double()
        logits = [
            model(torch.tensor([prompt]), labels=torch.tensor([target])).logits[0]
            for prompt, target in zip(prompts, targets)
        ]
        logits = torch.cat(logits)
        (logits * upstream).sum().backward()
        for key, parameter in stored(model, tied).items():
            tensors[f"gradient.{key}"] = parameter.grad.float()
        tensors["golden.logits"] = logits.detach().float()
        tensors["golden.upstream"] = upstream
        versions = {"torch": torch.__version__, "transformers": transformers.__version__}
        path = FIXTURES / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in tensors.items()}, path, versions)
        path.with_suffix(".json").write_text(json.dumps({**versions, **golden}) + "\n")
        print(name, path.stat().st_size)


def strip(row: list[int], ends: list[int]) -> list[int]:
    """Up to and with the first end-of-sequence token, without the padding after it."""
    found = [i for i, token in enumerate(row) if token in ends]
    return row[: found[0] + 1] if found else row


if __name__ == "__main__":
    main()

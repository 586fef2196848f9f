"""A tiny decoder as a GGUF file, with a tokenizer, and what transformers computes with the same rounded weights.

Writes into crates/relens-models/tests/fixtures/gguf: tiny.gguf, and golden.safetensors with
- ids (packed), offsets, logits [total_tokens, vocabulary] in single precision from the widened weights;
- text_ids (packed), text_offsets: the tokens of texts.json.

    python3 tools/reference/make_gguf_fixtures.py
"""

import json
from pathlib import Path

import gguf
import numpy as np
import tokenizers
import torch
import transformers
from gguf import GGMLQuantizationType as Kind
from safetensors.torch import save_file
from tokenizers import decoders, models, pre_tokenizers, trainers

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures/gguf"
HEADS, KEY_VALUE_HEADS, WIDTH, INNER, LAYERS = 4, 2, 32, 64, 2
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "A dog runs through the grass.",
    "<|im_start|>user\nThe 2 children, aged 10 and 12!<|im_end|>",
    "  double  spaces\tand\nlines\n\n",
    "café 一只狗 🐕",
    "",
]
NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
KINDS = {"attn_q": Kind.Q4_0, "attn_k": Kind.Q4_1, "ffn_gate": Kind.Q4_1, "ffn_up": Kind.Q4_1, "attn_v": Kind.F16}


def tokenizer() -> tokenizers.Tokenizer:
    """As SmolLM's: single digits, bytes, merges."""
    made = tokenizers.Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    made.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet)
    made.train_from_iterator(["The dogs and the children run through the grass and the sand"] * 9, trainer)
    return made


def permuted(rows: np.ndarray, heads: int) -> np.ndarray:
    """From the order of rotated halves to that of interleaved pairs."""
    return rows.reshape(heads, 2, -1, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    text = tokenizer()
    vocabulary = text.get_vocab_size()
    config = transformers.LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_VALUE_HEADS,
        max_position_embeddings=64,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1000.0},
    )
    model = transformers.LlamaForCausalLM(config).eval()
    writer = gguf.GGUFWriter(FIXTURES / "tiny.gguf", "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEY_VALUE_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1000.0)
    state = json.loads(text.to_str())["model"]
    tokens = sorted(state["vocab"], key=state["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in SPECIAL else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in state["merges"]])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)

    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            value = 1 + noise * 0.3 if parameter.dim() == 1 else noise * parameter.shape[1] ** -0.5
            module = name.removesuffix(".weight")
            parts = module.split(".")
            if parts[1] == "layers":
                part = NAMES[".".join(parts[3:])]
                stored = f"blk.{parts[2]}.{part}.weight"
            else:
                part = {"embed_tokens": "token_embd", "norm": "output_norm"}[parts[1]]
                stored = f"{part}.weight"
            kind = Kind.F32 if parameter.dim() == 1 else KINDS.get(part, Kind.Q8_0)
            data = gguf.quants.quantize(value.numpy(), kind)
            parameter.copy_(torch.from_numpy(gguf.quants.dequantize(data, kind).astype(np.float32)))
            heads = {"attn_q": HEADS, "attn_k": KEY_VALUE_HEADS}.get(part)
            writer.add_tensor(stored, data if heads is None else permuted(data, heads), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()

    lengths = [11, 3]
    sequences = [torch.randint(3, vocabulary, (length,), generator=generator) for length in lengths]
    with torch.no_grad():
        logits = torch.cat([model(ids[None]).logits[0] for ids in sequences])
    encoded = [torch.tensor(text.encode(line).ids, dtype=torch.int32) for line in TEXTS]
    golden = {
        "ids": torch.cat(sequences).int(),
        "offsets": torch.tensor([0, *lengths]).cumsum(0).int(),
        "logits": logits,
        "text_ids": torch.cat(encoded).int(),
        "text_offsets": torch.tensor([0, *map(len, encoded)]).cumsum(0).int(),
    }
    save_file(golden, FIXTURES / "golden.safetensors")
    (FIXTURES / "texts.json").write_text(json.dumps(TEXTS, ensure_ascii=False, indent=1) + "\n")
    print((FIXTURES / "tiny.gguf").stat().st_size, "bytes,", vocabulary, "tokens")


if __name__ == "__main__":
    main()

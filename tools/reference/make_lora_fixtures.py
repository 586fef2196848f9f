"""LoRA adapters of PEFT on the tiny decoders of make_llama_fixtures.py (which runs first), and what they compute.

Writes one directory for each adapter into crates/relens-models/tests/fixtures/lora: adapter_config.json and
adapter_model.safetensors as PEFT writes them, and golden.safetensors with
- logits [total_tokens, vocabulary] of the base's golden ids;
- gradient.NAME of (logits * upstream).sum() for A and B of every map, by the base's golden upstream;
- merged.NAME, the weight of one map after PEFT merged the adapter.

    python3 tools/reference/make_lora_fixtures.py
"""

import shutil
from pathlib import Path

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures"


def write(base: str, name: str, seed: int, **settings) -> None:
    source, directory = FIXTURES / "llama" / base, FIXTURES / "lora" / name
    shutil.rmtree(directory, ignore_errors=True)
    golden = load_file(source / "golden.safetensors")
    model = transformers.AutoModelForCausalLM.from_pretrained(source, attn_implementation="eager")
    config = peft.LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.0, **settings)
    model = peft.get_peft_model(model, config).eval()
    generator = torch.Generator().manual_seed(seed)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for parameter in trained.values():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    offsets, ids = golden["offsets"].tolist(), golden["ids"].long()
    sequences = [ids[a:b] for a, b in zip(offsets, offsets[1:], strict=False)]
    logits = torch.cat([model(sequence[None]).logits[0] for sequence in sequences])
    (logits * golden["upstream"]).sum().backward()
    found = {"logits": logits.detach()}
    for parameter_name, parameter in trained.items():
        stored = parameter_name.removeprefix("base_model.model.").replace(".default", "")
        found[f"gradient.{stored}"] = parameter.grad.clone()
    model.peft_config["default"].base_model_name_or_path = base
    model.save_pretrained(directory, save_embedding_layers=False)
    (directory / "README.md").unlink(missing_ok=True)
    module = sorted(stored.rsplit(".lora_", 1)[0] for stored in found if stored.startswith("gradient."))[0]
    module = module.removeprefix("gradient.")
    merged = model.merge_and_unload().state_dict()
    found[f"merged.{module}.weight"] = merged[f"{module}.weight"]
    save_file({key: value.contiguous() for key, value in found.items()}, directory / "golden.safetensors")
    print(f"{name}: {len(trained)} tensors")


def main() -> None:
    write("qwen2", "attention", 1, r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"])
    everything = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head"]
    write("llama3", "every_map", 2, r=4, lora_alpha=8, use_rslora=True, target_modules=everything)


if __name__ == "__main__":
    main()

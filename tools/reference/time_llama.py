"""Greedy decoding of a SmolLM2-135M-shaped Llama here and in PyTorch, alternating in one session.

    cargo build --release --package relens-models --example time_decoding
    python3 tools/reference/time_llama.py [--rounds 5] [--storage f32 q8 q4] [COUNT LENGTH NEW ...]

The weights are random; only the shape matters. COUNT prompts of LENGTH tokens are continued by NEW tokens each.
PyTorch is in float32 with its key-value cache and scaled-dot-product attention. Prints the median over all rounds,
tokens a second, and the ratio: above 1, relens is faster.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM

ROOT = Path(__file__).parents[2]
SMOLLM2_135M = dict(
    vocab_size=49152,
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    num_attention_heads=9,
    num_key_value_heads=3,
    max_position_embeddings=8192,
    rope_theta=100000.0,
    tie_word_embeddings=True,
    bos_token_id=1,
    eos_token_id=0,
    pad_token_id=0,
)


def sequences(count: int, length: int, vocabulary: int) -> list[list[int]]:
    return [[2 + (i * 7919 + j * 104729) % (vocabulary - 2) for j in range(length)] for i in range(count)]


class Relens:
    def __init__(self, binary: Path, model: Path, storage: str) -> None:
        command = [binary, model, storage]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, count: int, length: int, new: int) -> float:
        self.process.stdin.write(f"{count} {length} {new} 1\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["median_ms"]


class PyTorch:
    def __init__(self, model: LlamaForCausalLM) -> None:
        self.model = model.eval()

    def run(self, count: int, length: int, new: int) -> float:
        ids = torch.tensor(sequences(count, length, self.model.config.vocab_size))
        start = time.perf_counter()
        with torch.inference_mode():
            self.model.generate(
                ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, min_new_tokens=new, do_sample=False
            )
        return (time.perf_counter() - start) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", type=int, default=[1, 20, 32, 32, 20, 32], help="COUNT LENGTH NEW, repeated")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--storage", nargs="+", default=["f32", "q8", "q4"])
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/examples/time_decoding")
    arguments = parser.parse_args()
    tasks = [tuple(arguments.tasks[i : i + 3]) for i in range(0, len(arguments.tasks), 3)]
    torch.manual_seed(1)
    torch.set_num_threads(arguments.threads)
    model = LlamaForCausalLM(LlamaConfig(**SMOLLM2_135M))
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters")
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        # Token ids go in and out; the tokenizer only has to be there.
        Tokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(f"{directory}/tokenizer.json")
        peers = {name: Relens(arguments.binary, Path(directory), name) for name in arguments.storage}
        peers["pytorch"] = PyTorch(model)
        for count, length, new in tasks:
            times = {name: [] for name in peers}
            for turn in range(arguments.rounds + 1):
                for name, peer in peers.items():
                    taken = peer.run(count, length, new)
                    if turn > 0:  # the first run warms up
                        times[name].append(taken)
            medians = {name: statistics.median(values) for name, values in times.items()}
            for name in arguments.storage:
                line = {
                    "count": count,
                    "length": length,
                    "new": new,
                    "storage": name,
                    "relens_ms": round_to(medians[name]),
                    "pytorch_ms": round_to(medians["pytorch"]),
                    "tokens_per_second": round_to(1e3 * count * new / medians[name]),
                    "ratio": round(medians["pytorch"] / medians[name], 2),
                }
                print(json.dumps(line), flush=True)


def round_to(value: float) -> float:
    return round(value, 1)


if __name__ == "__main__":
    main()

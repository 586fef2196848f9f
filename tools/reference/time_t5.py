"""A T5 here and in PyTorch, alternating in one session: training steps, and greedy decoding.

    cargo build --release --package relens-training --example time_t5
    python3 tools/reference/time_t5.py [--shape small|rewriter] [--rounds 5] [TASK COUNT LENGTH ...]

The weights are random; only the shape matters. `small` is T5-small (60 million parameters, vocabulary 32128),
`rewriter` is the shape of the bundled rewriter. A training step is forward, cross-entropy, backward, clipping and
AdamW on COUNT pairs of LENGTH tokens each, without dropout on either side; PyTorch is eager, in float32, with
scaled-dot-product attention where transformers offers it and its fused AdamW. Prints the median over all rounds and
the ratio: above 1, relens is faster.
"""

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from transformers import T5Config, T5ForConditionalGeneration

ROOT = Path(__file__).parents[2]
SHAPES = {
    "small": dict(),
    "rewriter": dict(
        vocab_size=8192, d_model=320, d_kv=40, d_ff=896, num_layers=5, num_heads=8, feed_forward_proj="gated-gelu"
    ),
}


def sequences(count: int, length: int, vocabulary: int) -> list[list[int]]:
    return [[2 + (i * 7919 + j * 104729) % (vocabulary - 2) for j in range(length)] for i in range(count)]


class Relens:
    def __init__(self, binary: Path, model: Path) -> None:
        command = [binary, model]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, task: str, count: int, length: int, runs: int) -> float:
        self.process.stdin.write(f"{task} {count} {length} {runs}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["median_ms"]


class PyTorch:
    def __init__(self, model: T5ForConditionalGeneration) -> None:
        self.model = model.eval()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step(self, ids: torch.Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.model(input_ids=ids, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()

    def run(self, task: str, count: int, length: int, runs: int) -> float:
        ids = torch.tensor(sequences(count, length, self.model.config.vocab_size))
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            if task == "train":
                self.step(ids)
            else:
                with torch.inference_mode():
                    self.model.generate(ids, max_new_tokens=length, min_new_tokens=length, do_sample=False)
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", default=["train", "16", "32"], help="TASK COUNT LENGTH, repeated")
    parser.add_argument("--shape", choices=SHAPES, default="small")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--binary", type=Path, default=ROOT / "target/release/examples/time_t5")
    arguments = parser.parse_args()
    tasks = [tuple(arguments.tasks[i : i + 3]) for i in range(0, len(arguments.tasks), 3)]
    torch.manual_seed(1)
    config = T5Config(**SHAPES[arguments.shape], decoder_start_token_id=0)
    model = T5ForConditionalGeneration(config)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} million parameters")
    with tempfile.TemporaryDirectory() as directory:
        model.save_pretrained(directory)
        peers = {"relens": Relens(arguments.binary, Path(directory)), "pytorch": PyTorch(model)}
        for task, count, length in tasks:
            times = {name: [] for name in peers}
            for _ in range(arguments.rounds):
                for name, peer in peers.items():
                    times[name].append(peer.run(task, int(count), int(length), 1))
            medians = {f"{name}_ms": round(statistics.median(values), 1) for name, values in times.items()}
            fastest = {f"{name}_fastest_ms": round(min(values), 1) for name, values in times.items()}
            ratio = round(medians["pytorch_ms"] / medians["relens_ms"], 2)
            line = {"task": task, "count": int(count), "length": int(length), **medians, **fastest, "ratio": ratio}
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

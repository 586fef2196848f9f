"""MiniLM here and in PyTorch, alternating in one session: forward of a batch, of one caption, and a training step.

    cargo build --release -p relens-models --example time_text
    python3 tools/reference/time_text.py PATH_TO/all-MiniLM-L6-v2 CAPTIONS.txt [--rounds 10]

CAPTIONS.txt holds a caption a line. PyTorch runs at its best: inference mode, scaled-dot-product attention, as many
threads as the machine has cores, the batch padded to its longest caption. Tokenising is left out on both sides.
Prints the median over all rounds, and the ratio: above 1, relens is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import time
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import BertModel

ROOT = Path(__file__).parents[2]


class Relens:
    def __init__(self, binary: Path, model: Path, captions: Path) -> None:
        command = [binary, model, captions]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def median_ms(self, task: str, count: int, runs: int) -> float:
        self.process.stdin.write(f"{task} {count} {runs}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())["median_ms"]


class PyTorch:
    def __init__(self, model: Path, captions: list[str]) -> None:
        load = lambda: BertModel.from_pretrained(
            model, add_pooling_layer=False, dtype=torch.float32, attn_implementation="sdpa"
        )
        self.frozen, self.trainable = load().eval(), load().eval()
        self.trainable.embeddings.requires_grad_(False)
        self.tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        self.tokenizer.enable_truncation(128)
        self.tokenizer.enable_padding()
        self.captions = captions

    def median_ms(self, task: str, count: int, runs: int) -> float:
        encodings = self.tokenizer.encode_batch(self.captions[:count])
        ids = torch.tensor([encoding.ids for encoding in encodings])
        mask = torch.tensor([encoding.attention_mask for encoding in encodings])
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            if task == "forward":
                with torch.inference_mode():
                    self.pooled(self.frozen, ids, mask)
            else:
                self.trainable.zero_grad(set_to_none=True)
                self.pooled(self.trainable, ids, mask).square().sum().backward()
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)

    def pooled(self, model: BertModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # One caption has no padding: without a mask PyTorch takes its faster path.
        hidden = model(ids, attention_mask=None if len(ids) == 1 else mask).last_hidden_state
        weights = mask[..., None].float()
        return (hidden * weights).sum(1) / weights.sum(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("captions", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release/examples/time_text")
    arguments = parser.parse_args()

    torch.set_num_threads(os.cpu_count() or 1)
    captions = arguments.captions.read_text().splitlines()
    sides = {"relens": Relens(arguments.binary, arguments.model, arguments.captions)}
    sides["pytorch"] = PyTorch(arguments.model, captions)
    for task, count, runs in [("forward", 64, 3), ("forward", 1, 30), ("forward", 8, 10), ("train", 64, 1)]:
        times: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side.median_ms(task, count, runs)
        for _ in range(arguments.rounds):
            for name, side in sides.items():
                times[name].append(side.median_ms(task, count, runs))
        medians = {f"{name}_ms": round(statistics.median(values), 2) for name, values in times.items()}
        ratio = medians["pytorch_ms"] / medians["relens_ms"]
        print(json.dumps({"task": task, "captions": count, **medians, "ratio": round(ratio, 2)}), flush=True)


if __name__ == "__main__":
    main()

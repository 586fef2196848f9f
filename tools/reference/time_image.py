"""EfficientNet-Lite here and in PyTorch, alternating in one session: a batch, a single picture, a training step.

    cargo build --release -p relens-models --example time_image
    python3 tools/reference/time_image.py [--architecture tf_efficientnet_lite2] [--rounds 10] [--compile]

PyTorch runs in channels-last and inference mode with as many threads as the machine has cores: as it comes (eager),
with normalisations folded and operations fused (`torch.jit.optimize_for_inference`) and, with --compile, compiled
(`torch.compile` with frozen weights, which takes a minute). Both sides have the same random weights and pictures of the
architecture's own size. Prints fastest and median times; a ratio above 1 means that relens is faster.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
TRAINED_BLOCKS = 4


class Relens:
    def __init__(self, binary: Path, architecture: str, weights: Path) -> None:
        command = [binary, architecture, weights]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def milliseconds(self, task: str, count: int, runs: int) -> tuple[float, float]:
        self.process.stdin.write(f"{task} {count} {runs}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["fastest_ms"], answer["median_ms"]


class PyTorch:
    def __init__(self, network: torch.nn.Module, forward, side: int) -> None:
        self.network, self.forward, self.side = network, forward, side

    def milliseconds(self, task: str, count: int, runs: int) -> tuple[float, float]:
        pictures = torch.randn(count, 3, self.side, self.side).to(memory_format=torch.channels_last)
        run = self.trainer(pictures) if task == "train" else lambda: self.infer(pictures)
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return min(times), statistics.median(times)

    @torch.inference_mode()
    def infer(self, pictures: torch.Tensor) -> None:
        self.forward(pictures)

    def trainer(self, pictures: torch.Tensor):
        blocks = [block for stage in self.network.blocks for block in stage]
        with torch.no_grad():
            features = self.network.bn1(self.network.conv_stem(pictures))
            for block in blocks[:-TRAINED_BLOCKS]:
                features = block(features)

        def step() -> None:
            self.network.zero_grad(set_to_none=True)
            x = features
            for block in blocks[-TRAINED_BLOCKS:]:
                x = block(x)
            x = self.network.bn2(self.network.conv_head(x))
            self.network.forward_head(x).square().sum().backward()

        return step


def competitors(arguments: argparse.Namespace, weights: Path) -> dict[str, object]:
    network = timm.create_model(arguments.architecture, num_classes=0).eval()
    side = timm.data.resolve_model_data_config(network)["input_size"][-1]
    save_file(network.state_dict(), weights)
    network = network.to(memory_format=torch.channels_last)
    example = torch.randn(1, 3, side, side).to(memory_format=torch.channels_last)
    with torch.inference_mode():
        fused = torch.jit.optimize_for_inference(torch.jit.trace(network, example))
    sides = {
        "relens": Relens(arguments.binary, arguments.architecture, weights),
        "eager": PyTorch(network, network, side),
        "fused": PyTorch(network, fused, side),
    }
    if arguments.compile:
        torch._inductor.config.freezing = True
        sides["compiled"] = PyTorch(network, torch.compile(network), side)
    return sides


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--architecture", default="tf_efficientnet_lite0")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--compile", action="store_true")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release/examples/time_image")
    arguments = parser.parse_args()

    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        sides = competitors(arguments, Path(folder) / "model.safetensors")
        for task, count, runs in [("forward", 32, 1), ("forward", 1, 10), ("train", 32, 1)]:
            taking_part = {name: side for name, side in sides.items() if task == "forward" or name in ("relens", "eager")}
            for side in taking_part.values():
                for _ in range(3):
                    side.milliseconds(task, count, 1)
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in taking_part}
            for _ in range(arguments.rounds):
                for name, side in taking_part.items():
                    times[name].append(side.milliseconds(task, count, runs))
            report(task, count, times)


def report(task: str, count: int, times: dict[str, list[tuple[float, float]]]) -> None:
    fastest = {name: min(fastest for fastest, _ in values) for name, values in times.items()}
    median = {name: statistics.median(median for _, median in values) for name, values in times.items()}
    line: dict[str, object] = {"task": task, "pictures": count}
    for name in times:
        line[name] = {"fastest_ms": round(fastest[name], 2), "median_ms": round(median[name], 2)}
    for name in times:
        if name != "relens":
            ratios = (fastest[name] / fastest["relens"], median[name] / median["relens"])
            line[f"ratio_to_{name}"] = {"fastest": round(ratios[0], 2), "median": round(ratios[1], 2)}
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

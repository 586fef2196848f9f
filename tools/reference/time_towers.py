"""The towers of a CLIP here and in PyTorch, alternating in one session: pictures and texts, in batches and alone.

    cargo build --release --workspace --example time_towers
    python3 tools/reference/time_towers.py [--captions CAPTIONS.txt] [--architecture ViT-B-32-quickgelu] [--tasks image:32,text:1]

Weights are random and the same on all sides. PyTorch runs open_clip's model in inference mode with as many threads as
the machine has cores, both as it comes and, for texts, cut to the longest text of the batch, which open_clip does not
do (it computes all 77 places) but PyTorch could. CAPTIONS.txt holds a caption a line; without it sentences of 5 to 17
words are timed. `int8` is relens with weights and activations of eight bits. `--faster-clip` adds the program of that
name from PyPI, if it is installed: its one image tower is OpenAI's ViT-B/32, with weights of eight bits, and its times
include decoding pictures of the tower's size. Prints fastest and median times; a ratio above 1 means that relens is
faster.
"""

import argparse
import copy
import io
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from parity import MEAN, STD, open_clip_case

ROOT = Path(__file__).parents[2]
DEFAULT_TASKS = "image:32,image:1,text:32,text:1"


class Relens:
    def __init__(self, binary: Path, model: Path, captions: Path, *options: str) -> None:
        command = [binary, model, captions, *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def milliseconds(self, task: str, count: int, runs: int) -> tuple[float, float]:
        self.process.stdin.write(f"{task} {count} {runs}\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return answer["fastest_ms"], answer["median_ms"]


class PyTorch:
    def __init__(self, model, side: int, captions: list[str], trimmed: bool = False) -> None:
        self.model, self.side, self.captions, self.trimmed = model, side, captions, trimmed

    @torch.inference_mode()
    def milliseconds(self, task: str, count: int, runs: int) -> tuple[float, float]:
        if task == "image":
            pictures = torch.randn(count, 3, self.side, self.side)
            if self.trimmed:
                pictures = pictures.to(memory_format=torch.channels_last)
            run = lambda: self.model.encode_image(pictures)
        else:
            ids = self.tokenize(self.captions[:count])
            run = (lambda: self.encode_trimmed(ids)) if self.trimmed else (lambda: self.model.encode_text(ids))
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        return min(times), statistics.median(times)

    def encode_trimmed(self, ids: torch.Tensor) -> torch.Tensor:
        """What open_clip computes, without the places behind the longest text."""
        model, ends = self.model, ids.argmax(dim=-1)
        length = int(ends.max()) + 1
        hidden = model.token_embedding(ids[:, :length]) + model.positional_embedding[:length]
        hidden = model.transformer(hidden, attn_mask=model.attn_mask[:length, :length])
        return model.ln_final(hidden)[torch.arange(len(ids)), ends] @ model.text_projection

    @staticmethod
    def tokenize(texts: list[str]) -> torch.Tensor:
        from open_clip.tokenizer import SimpleTokenizer

        return SimpleTokenizer(context_length=77)(texts)


class FasterClip:
    """`faster_clip.ClipModel` with the same weights, in the place where it would keep what it downloads.

    Its text tower is a multilingual DistilBERT, which is no tower of CLIP: pictures alone are compared.
    """

    FILE = "sentence-transformers__clip-ViT-B-32/0_CLIPModel/model.safetensors"

    def __init__(self, model, side: int, cache: Path) -> None:
        file = cache / self.FILE
        file.parent.mkdir(parents=True)
        save_file(hugging_face_tower(model), file)
        os.environ["FASTER_CLIP_CACHE"] = str(cache)
        import faster_clip

        self.model, self.bytes, self.pictures = faster_clip.ClipModel(), [], []
        generator = torch.Generator().manual_seed(4)
        for _ in range(32):
            pixels = torch.randint(0, 256, (7, 7, 3), generator=generator, dtype=torch.uint8).numpy()
            picture = Image.fromarray(pixels).resize((side, side), Image.BICUBIC)
            buffer = io.BytesIO()
            picture.save(buffer, "PNG", compress_level=0)
            self.bytes.append(buffer.getvalue())
            self.pictures.append((torch.from_numpy(np.array(picture)) / 255 - torch.tensor(MEAN)) / torch.tensor(STD))

    @torch.inference_mode()
    def least_cosine(self, model) -> float:
        """With PyTorch's embeddings of the same pictures."""
        expected = model.encode_image(torch.stack(self.pictures[:4]).permute(0, 3, 1, 2))
        found = torch.tensor(self.model.encode_image(self.bytes[:4]))
        return float(torch.nn.functional.cosine_similarity(expected, found).min())

    def milliseconds(self, _task: str, count: int, runs: int) -> tuple[float, float]:
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.model.encode_image(self.bytes[:count])
            times.append((time.perf_counter() - start) * 1e3)
        return min(times), statistics.median(times)


def hugging_face_tower(model) -> dict[str, torch.Tensor]:
    """open_clip's image tower under the names of Hugging Face's."""
    renamed = {}
    plain = {
        "conv1.weight": "embeddings.patch_embedding.weight", "class_embedding": "embeddings.class_embedding",
        "positional_embedding": "embeddings.position_embedding.weight", "ln_pre": "pre_layrnorm", "ln_post": "post_layernorm",
        "transformer.resblocks": "encoder.layers", "ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2", "attn.out_proj": "self_attn.out_proj",
    }  # fmt: skip
    for name, tensor in model.visual.state_dict().items():
        if name == "proj":
            renamed["visual_projection.weight"] = tensor.T.contiguous()
        elif ".attn.in_proj_" in name:
            layer, kind = name.split(".")[2], name.rsplit("_", 1)[1]
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                renamed[f"vision_model.encoder.layers.{layer}.self_attn.{part}_proj.{kind}"] = rows.clone()
        else:
            for ours, theirs in plain.items():
                name = name.replace(ours, theirs)
            renamed[f"vision_model.{name}"] = tensor.clone()
    return renamed


def sentences() -> list[str]:
    words = "two dogs play with a red ball on the sandy beach while their owner watches them closely".split()
    return [" ".join(words[: 5 + index % 13]) for index in range(64)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--captions", type=Path)
    parser.add_argument("--architecture", default="ViT-B-32-quickgelu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tasks", default=DEFAULT_TASKS)
    parser.add_argument("--int8", action="store_true")
    parser.add_argument("--faster-clip", action="store_true")
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--binary", type=Path, default=target / "release/examples/time_towers")
    arguments = parser.parse_args()

    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        captions = arguments.captions.read_text().splitlines() if arguments.captions else sentences()
        file = Path(folder) / "captions.txt"
        file.write_text("\n".join(captions))
        side, _, _, model = open_clip_case(arguments.architecture, Path(folder))
        sides = {
            "relens": Relens(arguments.binary, Path(folder), file),
            "pytorch": PyTorch(model, side, captions),
            "pytorch_best": PyTorch(model, side, captions, trimmed=True),
        }
        if arguments.int8:
            sides["int8"] = Relens(arguments.binary, Path(folder), file, "int8")
        if arguments.faster_clip:
            sides["faster_clip"] = FasterClip(model, side, Path(folder) / "faster-clip")
            print(json.dumps({"faster_clip_least_cosine": sides["faster_clip"].least_cosine(model)}), flush=True)
        if "RN" in arguments.architecture:
            sides["pytorch_best"].model = copy.deepcopy(model).to(memory_format=torch.channels_last)
        for task in arguments.tasks.split(","):
            kind, count = task.split(":")
            compare(sides, kind, int(count), arguments.rounds)


def compare(sides: dict, task: str, count: int, rounds: int) -> None:
    runs = 2 if count > 8 else 15
    if task == "text":
        sides = {name: side for name, side in sides.items() if name != "faster_clip"}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for side in sides.values():
        side.milliseconds(task, count, 2)
    for _ in range(rounds):
        for name, side in sides.items():
            times[name].append(side.milliseconds(task, count, runs))
    fastest = {name: min(fastest for fastest, _ in values) for name, values in times.items()}
    median = {name: statistics.median(median for _, median in values) for name, values in times.items()}
    line: dict[str, object] = {"task": task, "count": count}
    for name in times:
        line[name] = {"fastest_ms": round(fastest[name], 2), "median_ms": round(median[name], 2)}
    for ours in ("relens", "int8"):
        for theirs in ("pytorch", "pytorch_best", "faster_clip"):
            if ours in times and theirs in times:
                line[f"{ours}_to_{theirs}"] = round(median[theirs] / median[ours], 2)
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()

"""Every architecture at full shape, seeded random weights, in each layout that has it: relens beside the reference.

The models are written as open_clip and transformers write them, opened by the `relens` program as a user would, and
pictures (at the tower's size) and texts are embedded by both. Nothing is downloaded.

    python3 tools/reference/parity.py --relens target/release/relens [--token-ids target/release/examples/token_ids] [NAME …]
"""

import argparse
import copy
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import open_clip
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer
from PIL import Image
from safetensors.torch import save_file
from torch.nn import functional as F

from make_architecture_fixtures import save_as_the_authors, write_clip_tokenizer, write_unigram_tokenizer, write_word_pieces
from odd_strings import odd_strings

TOLERANCE = 1e-4
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
TEXTS = [
    "a dog runs on the beach",
    "The two children, playing football at night, don't stop!",
    "café 一只狗 🐕",
    "a " * 200,
    "一只狗在雪地里奔跑。",
]
OPEN_CLIP = [
    "ViT-B-32", "ViT-B-32-quickgelu", "ViT-B-16", "ViT-L-14-quickgelu", "ViT-L-14-336-quickgelu", "RN50-quickgelu",
    "RN101-quickgelu", "coca_ViT-B-32", "coca_ViT-L-14", "EVA02-B-16", "EVA02-L-14", "ViT-B-16-SigLIP",
    "ViT-B-16-SigLIP2",
]  # fmt: skip


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Moves what initialisation left at zero or one, so that no bias and no norm can be forgotten unseen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=generator) * 0.1)
            elif name.endswith("running_var"):
                buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    model.eval()


def save(model: torch.nn.Module, path: Path) -> None:
    tensors = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt"})


def open_clip_case(name: str, directory: Path):
    torch.manual_seed(1)
    model = open_clip.create_model(name, pretrained=None)
    randomise(model, 2)
    config = copy.deepcopy(open_clip.get_model_config(name))
    size = config["vision_cfg"]["image_size"] if "image_size" in config["vision_cfg"] else 224
    preprocess = {"mean": MEAN, "std": STD, "interpolation": "bicubic", "resize_mode": "shortest"}
    (directory / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
    save(model, directory / "open_clip_model.safetensors")
    length = config["text_cfg"]["context_length"] if "context_length" in config["text_cfg"] else 77
    if "SigLIP" in name:
        write_unigram_tokenizer(directory)
        clean = config["text_cfg"].get("tokenizer_kwargs", {}).get("clean", "whitespace")
        tokenizer = open_clip.tokenizer.HFTokenizer(str(directory), length, clean=clean)
    else:
        write_clip_tokenizer(directory, SimpleTokenizer())
        tokenizer = SimpleTokenizer(context_length=length)
    return size, model.encode_image, lambda texts: model.encode_text(tokenizer(texts)), model


def chinese_resnet_case(_name: str, directory: Path):
    """Chinese-CLIP's RN50 with its RBT3 text tower, in open_clip's layout."""
    bert = transformers.BertConfig(vocab_size=21128, num_hidden_layers=3, hidden_size=768, num_attention_heads=12)
    (directory / "config.json").write_text(json.dumps(bert.to_dict()))
    vision = {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}
    text = {
        "hf_model_name": str(directory), "hf_model_pretrained": False, "hf_tokenizer_name": "hfl/rbt3",
        "hf_pooler_type": "cls_last_hidden_state_pooler", "hf_proj_type": "linear", "context_length": 52,
    }  # fmt: skip
    torch.manual_seed(1)
    model = open_clip.CustomTextCLIP(1024, vision, text)
    randomise(model, 2)
    config = {"embed_dim": 1024, "custom_text": True, "vision_cfg": vision, "text_cfg": {**text, "hf_model_name": "hfl/rbt3"}}
    (directory / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {"mean": MEAN, "std": STD}}))
    save(model, directory / "open_clip_model.safetensors")
    write_word_pieces(directory, 21128)
    tokenizer = open_clip.tokenizer.HFTokenizer(str(directory), 52)
    return 224, model.encode_image, lambda texts: model.encode_text(tokenizer(texts)), model


def original_chinese_case(_name: str, directory: Path):
    """Chinese-CLIP's ViT-B/16 as its authors publish it: a `.pt` of half precision and a vocabulary."""
    made = directory.parent / "hugging_face"
    made.mkdir()
    size, encode_image, encode_text, model = hugging_face_case("hf chinese-clip ViT-B/16", made)
    model.half().float()
    save_as_the_authors(model.state_dict(), directory / "clip_cn_vit-b-16.pt")
    shutil.copy(made / "vocab.txt", directory)
    return size, encode_image, encode_text, model


def clip_config(width: int, layers: int, heads: int, patch: int, size: int, text_width: int) -> transformers.CLIPConfig:
    vision = {
        "hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers, "num_attention_heads": heads,
        "patch_size": patch, "image_size": size,
    }  # fmt: skip
    text = {
        "hidden_size": text_width, "intermediate_size": 4 * text_width, "num_attention_heads": text_width // 64,
        "eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 1,
    }  # fmt: skip
    return transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=text_width)


def hugging_face_case(name: str, directory: Path):
    torch.manual_seed(1)
    model, padded = HUGGING_FACE[name](), None
    randomise(model, 2)
    model.save_pretrained(directory)
    size = model.config.vision_config.image_size
    sides = {"shortest_edge": size} if "siglip" not in name else {"height": size, "width": size}
    processor = {"image_mean": MEAN, "image_std": STD, "size": sides, "crop_size": {"height": size, "width": size}, "resample": 3}
    (directory / "preprocessor_config.json").write_text(json.dumps(processor))
    if "siglip" in name:
        write_unigram_tokenizer(directory)
        tokenizer, length, padded = transformers.AutoTokenizer.from_pretrained(directory), 64, "max_length"
    elif "chinese" in name:
        tokenizer, length = write_word_pieces(directory, 21128), 52
    else:
        write_clip_tokenizer(directory, SimpleTokenizer())
        tokenizer, length = transformers.CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt")), 77

    def encode_text(texts: list[str]) -> torch.Tensor:
        rows = [tokenizer([text], truncation=True, max_length=length, padding=padded or False)["input_ids"] for text in texts]
        return torch.cat([model.get_text_features(input_ids=torch.tensor(ids)).pooler_output for ids in rows])

    return size, lambda images: model.get_image_features(pixel_values=images).pooler_output, encode_text, model


HUGGING_FACE = {
    "hf clip ViT-B/32": lambda: transformers.CLIPModel(clip_config(768, 12, 12, 32, 224, 512)),
    "hf clip ViT-B/16": lambda: transformers.CLIPModel(clip_config(768, 12, 12, 16, 224, 512)),
    "hf clip ViT-L/14": lambda: transformers.CLIPModel(clip_config(1024, 24, 16, 14, 224, 768)),
    "hf clip ViT-L/14@336": lambda: transformers.CLIPModel(clip_config(1024, 24, 16, 14, 336, 768)),
    "hf siglip B/16": lambda: transformers.SiglipModel(transformers.SiglipConfig()),
    "hf chinese-clip ViT-B/16": lambda: transformers.ChineseCLIPModel(
        transformers.ChineseCLIPConfig(text_config={"vocab_size": 21128}, vision_config={"patch_size": 16}, projection_dim=512)
    ),
}


def pictures(directory: Path, size: int) -> tuple[list[Path], torch.Tensor]:
    """Two pictures as PNG, and normalised as a tower takes them."""
    generator = np.random.default_rng(3)
    coarse = generator.integers(0, 256, (2, 7, 7, 3), dtype=np.uint8)
    files, prepared = [], []
    for index, pixels in enumerate(coarse):
        image = Image.fromarray(pixels).resize((size, size), Image.BICUBIC)
        files.append(directory / f"picture-{index}.png")
        image.save(files[-1])
        prepared.append((np.asarray(image, dtype=np.float32) / 255 - np.float32(MEAN)) / np.float32(STD))
    return files, torch.from_numpy(np.stack(prepared)).permute(0, 3, 1, 2).contiguous()


def compare(name: str, build, relens: str) -> bool:
    directory = Path(tempfile.mkdtemp(prefix="parity-"))
    try:
        model_directory = directory / "model"
        model_directory.mkdir()
        size, encode_image, encode_text, model = build(name, model_directory)
        files, images = pictures(directory, size)
        with torch.inference_mode():
            expected = torch.cat([F.normalize(encode_image(images), dim=-1), F.normalize(encode_text(TEXTS), dim=-1)]).numpy()
        parameters = sum(parameter.numel() for parameter in model.parameters())
        del model, encode_image, encode_text
        arguments = [argument for file in files for argument in ("--image", str(file))]
        arguments += [argument for text in TEXTS for argument in ("--text", text)]
        start = time.monotonic()
        output = subprocess.run(
            [relens, "--quiet", "embed", "--json", "--model", str(model_directory), *arguments], capture_output=True, text=True
        )
        if output.returncode != 0:
            print(f"{name:28} FAILED: {output.stderr.strip()}", flush=True)
            return False
        found = np.array([json.loads(line)["embedding"] for line in output.stdout.splitlines()], dtype=np.float32)
        difference = np.abs(found - expected)
        images_differ, texts_differ = difference[: len(files)].max(), difference[len(files) :].max()
        spread = np.abs(expected[len(files)] - expected[len(files) + 1]).max()
        passed = bool(max(images_differ, texts_differ) <= TOLERANCE) and found.shape == expected.shape
        print(
            f"{name:28} {parameters / 1e6:7.1f} M  images {images_differ:.1e}  texts {texts_differ:.1e}  "
            f"(two texts differ by {spread:.1e})  {time.monotonic() - start:.1f} s  {'equal' if passed else 'DIFFERENT'}",
            flush=True,
        )
        return passed
    finally:
        shutil.rmtree(directory)


def compare_ids(program: str) -> bool:
    """Ids of 10,000 odd strings: open_clip's and transformers' byte pairs, BERT's word pieces."""
    texts, passed = odd_strings(10_000), True
    with tempfile.TemporaryDirectory() as temporary:
        for name in ("open_clip", "hugging_face", "bert"):
            directory = Path(temporary) / name
            directory.mkdir()
            if name == "bert":
                tokenizer = write_word_pieces(directory, 21128)
            else:
                write_clip_tokenizer(directory, SimpleTokenizer())
                tokenizer = transformers.CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))
            if name == "open_clip":
                # Padded with 0, which is also the id of "!": a row ends where its end token stands.
                rows = SimpleTokenizer(context_length=77)(texts).tolist()
                reference = [row[: row.index(max(row)) + 1] for row in rows]
            else:
                reference = tokenizer(texts, truncation=True, max_length=77)["input_ids"]
            lines = "".join(json.dumps(text) + "\n" for text in texts)
            output = subprocess.run([program, str(directory), name, "77"], input=lines, capture_output=True, text=True, check=True)
            found = [json.loads(line) for line in output.stdout.splitlines()]
            wrong = [index for index, ids in enumerate(found) if ids != list(reference[index])]
            print(f"ids, {name:14} {len(found) - len(wrong)} of {len(texts)} equal", flush=True)
            for index in wrong[:5]:
                print(f"    {texts[index]!r}\n      found {found[index]}\n      expected {reference[index]}")
            passed &= not wrong and len(found) == len(texts)
    return passed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--relens", default="target/release/relens")
    parser.add_argument("--token-ids")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    cases = {name: open_clip_case for name in OPEN_CLIP}
    cases["chinese-clip RN50"] = chinese_resnet_case
    cases |= dict.fromkeys(HUGGING_FACE, hugging_face_case)
    cases["chinese-clip ViT-B/16 .pt"] = original_chinese_case
    chosen = arguments.names or list(cases)
    results = [compare_ids(arguments.token_ids)] if arguments.token_ids else []
    results += [compare(name, cases[name], arguments.relens) for name in chosen]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()

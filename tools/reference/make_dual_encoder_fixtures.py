"""Golden embeddings of a bundled retriever, computed by open_clip (timm + transformers) on the same weights.

    pip install -r tools/reference/requirements.txt
    python3 tools/reference/make_dual_encoder_fixtures.py models/relens-mini crates/relens/tests/fixtures/relens-mini.json

The pictures are textures from a formula that the test computes too, in the tower's own size, so that neither a JPEG
decoder nor a resampler stands between the two implementations.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import open_clip
import timm
import torch
import transformers

TEXTS = [
    "a dog runs through the snow",
    "two children in red coats on a beach",
    "Man",
    "",
    "a woman, smiling; she's holding a café latte (hot!) near 12 bicycles",
    "狗在雪地里奔跑",
    "a very long caption " + "with many more words " * 40,
]
PICTURES = 3


def texture(seed: int, side: int) -> np.ndarray:
    """An 8-bit RGB picture [side, side, 3] of integer arithmetic alone, the same in every language."""
    y, x, c = np.meshgrid(np.arange(side), np.arange(side), np.arange(3), indexing="ij")
    coarse = ((x // 16 + seed) * (y // 16 + 2 * seed + c) * 37) % 200
    fine = (x * (3 + seed) + y * (5 + c) + x * y // 32) % 56
    return (coarse + fine).astype(np.uint8)


def load(directory: Path):
    """Loads the directory in open_clip; the text tower's hub name is replaced by the directory itself."""
    copy = Path(tempfile.mkdtemp()) / directory.name
    shutil.copytree(directory, copy)
    path = copy / "open_clip_config.json"
    config = json.loads(path.read_text())
    config["model_cfg"]["text_cfg"]["hf_model_name"] = str(copy)
    config["model_cfg"]["text_cfg"]["hf_tokenizer_name"] = str(copy)
    path.write_text(json.dumps(config))
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{copy}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{copy}")
    return model.float().eval(), tokenizer, config


def main() -> None:
    directory, output = Path(sys.argv[1]), Path(sys.argv[2])
    model, tokenizer, config = load(directory)
    side = config["model_cfg"]["vision_cfg"]["image_size"]
    mean, deviation = (np.array(config["preprocess_cfg"][key], dtype=np.float32) for key in ("mean", "std"))
    pixels = np.stack([texture(seed, side) for seed in range(1, PICTURES + 1)])
    images = torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / deviation).permute(0, 3, 1, 2)
    with torch.inference_mode():
        image_vectors = model.encode_image(images, normalize=True).numpy()
        text_vectors = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()
    fixture = {
        "made_with": {"open_clip": open_clip.__version__, "timm": timm.__version__,
                      "transformers": transformers.__version__, "torch": torch.__version__},
        "image_size": side,
        "texts": TEXTS,
        "image_embeddings": [[round(float(v), 6) for v in row] for row in image_vectors],
        "text_embeddings": [[round(float(v), 6) for v in row] for row in text_vectors],
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(fixture, ensure_ascii=False) + "\n")
    print(f"{output}: {len(image_vectors)} pictures, {len(text_vectors)} texts, {image_vectors.shape[1]} dimensions")


if __name__ == "__main__":
    main()

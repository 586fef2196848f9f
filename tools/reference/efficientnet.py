"""Golden fixtures for relens-models' efficientnet, from timm.

    python3 tools/reference/efficientnet.py crates/relens-models/tests/fixtures [../shared]

writes efficientnet.safetensors (a tiny network with all its gradients, and the pooled features of the Lite family at
full size with seeded weights) and, given the shared folder, efficientnet_pretrained.safetensors (the pooled features
of some photographs and of textures under pretrained weights). The seeded weights and the pictures are made by
texture.py's formulas on both sides, so that only results are stored.
"""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from texture import linear_congruential, texture
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import EfficientNet

NORM = partial(torch.nn.BatchNorm2d, eps=1e-3)


def seeded(position: int, name: str, shape: torch.Size) -> torch.Tensor:
    """Numbers for the `position`-th tensor by name: about as large as training would make them."""
    states = linear_congruential(int(np.prod(shape)), 1000 + position)
    uniform = torch.tensor((states >> 8) / 2.0**24 - 0.5)
    if len(shape) == 4:
        fan_in = shape[1] * shape[2] * shape[3]
        values = uniform * (24.0 / fan_in) ** 0.5
    elif name.endswith(("running_var", "weight")):
        values = 1.0 + 0.5 * uniform
    else:
        values = 0.5 * uniform
    return values.reshape(shape).float()


def fill(network: torch.nn.Module) -> torch.nn.Module:
    names = sorted(name for name in network.state_dict() if not name.endswith("num_batches_tracked"))
    state = {name: seeded(i, name, network.state_dict()[name].shape) for i, name in enumerate(names)}
    network.load_state_dict(state, strict=False)
    return network.eval()


def tiny() -> torch.nn.Module:
    blocks = ["ds_r1_k3_s1_e1_c12", "ir_r2_k3_s2_e6_c24", "ir_r2_k5_s2_e3_c40", "ir_r1_k5_s1_e2_c20"]
    return fill(
        EfficientNet(
            block_args=decode_arch_def([[block] for block in blocks]),
            num_features=70,
            num_classes=0,
            stem_size=8,
            fix_stem=True,
            round_chs_fn=lambda channels, *_: channels,
            act_layer=torch.nn.ReLU6,
            norm_layer=NORM,
            pad_type="same",
        )
    )


def lite(variant: int) -> torch.nn.Module:
    return timm.create_model(f"tf_efficientnet_lite{variant}", num_classes=0)


def batch(sizes: list[tuple[int, int, int]]) -> torch.Tensor:
    """Textures (width, height, seed), from -1 to 1."""
    pictures = np.stack([texture(*size) for size in sizes])
    return (torch.tensor(pictures).permute(0, 3, 1, 2).double() / 127.5 - 1.0).float()


def golden() -> dict[str, torch.Tensor]:
    """Computed in f64, so that the file holds the true values."""
    tensors = {}
    network = tiny().double()
    pictures = batch([(45, 37, 1), (45, 37, 2)]).double().requires_grad_()
    features = network.forward_features(pictures)
    pooled = network(pictures)
    upstream = torch.tensor((linear_congruential(pooled.numel(), 7) >> 8) / 2.0**24 - 0.5)
    (pooled * upstream.reshape(pooled.shape)).sum().backward()
    tensors["tiny.features"] = features.detach().permute(0, 2, 3, 1).contiguous()
    tensors["tiny.pooled"] = pooled.detach()
    tensors["tiny.gradient.pictures"] = pictures.grad.permute(0, 2, 3, 1).contiguous()
    for name, parameter in network.named_parameters():
        tensors[f"tiny.gradient.{name}"] = parameter.grad
    with torch.inference_mode():
        tensors["lite0.pooled"] = fill(lite(0)).double()(batch([(224, 224, 1)]).double())
        for variant in range(1, 5):
            tensors[f"lite{variant}.pooled"] = fill(lite(variant)).double()(batch([(75, 64, 1)]).double())
    return {name: tensor.float() for name, tensor in tensors.items()}


@torch.inference_mode()
def pretrained(shared: Path) -> dict[str, torch.Tensor]:
    network = lite(0)
    network.load_state_dict(load_file(shared / "weights/efficientnet_lite0/model.safetensors"), strict=False)
    network.eval().double()
    tensors = {"textures": network(batch([(224, 224, 1), (224, 224, 2)]).double()).float()}
    for path in sorted((shared / "data/flickr8k/images").glob("*.jpg"))[::1200]:
        pixels = torch.tensor(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1)[None]
        tensors[f"photograph.{path.stem}"] = network(pixels.double() / 127.5 - 1.0)[0].float()
    return tensors


def main() -> None:
    folder = Path(sys.argv[1])
    versions = {"timm": timm.__version__, "torch": torch.__version__}
    save_file(golden(), folder / "efficientnet.safetensors", versions)
    if len(sys.argv) > 2:
        save_file(pretrained(Path(sys.argv[2])), folder / "efficientnet_pretrained.safetensors", versions)


if __name__ == "__main__":
    main()

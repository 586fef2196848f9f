"""Tiny seeded models of every architecture, in open_clip's and Hugging Face's layouts, with what they compute.

Writes one directory for each model into crates/relens-models/tests/fixtures/architectures: the files that the
library itself would write (weights in f16, which the reference computes with too) and golden.safetensors with
- images [n, height, width, 3], image_embeddings [n, dim];
- ids (packed), offsets, text_embeddings [n, dim], both embeddings L2-normalised;
- upstream [n, dim] and gradient.NAME of (text_embeddings * upstream).sum() for every tensor of the text side.
Beside them lie the model's tokenizer files and tokens.json, texts and what the library's own tokenizer makes of them.

    python3 tools/reference/make_architecture_fixtures.py
"""

import functools
import gzip
import json
import shutil
from pathlib import Path

import open_clip
import timm
import tokenizers
import torch
import transformers
from open_clip.tokenizer import SimpleTokenizer, default_bpe
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures/architectures"
MERGES = 300
CONTEXT_LENGTH = 12
EMBED_DIM = 20
IMAGE_SIZE = 32
VOCABULARY = 512 + MERGES + 2

TEXTS = [
    "a dog runs",
    "The two children, playing football on the beach at night",
    "",
    "!#! !",
    "café 一只狗 🐕",
]
CHINESE_TEXTS = [*TEXTS, "一只狗在雪地里奔跑。", "人，人！" * 30]


def randomise(model: torch.nn.Module, seed: int) -> None:
    """Moves every parameter, norms and biases too, and rounds it to f16."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            scale = 0.3 if parameter.dim() < 2 or "embedding" in name else 0.5 * parameter[0].numel() ** -0.5
            parameter.add_(noise * scale).copy_(parameter.half().float())
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_((torch.randn(buffer.shape, generator=generator) * 0.2).half().float())
            elif name.endswith("running_var"):
                buffer.copy_((torch.rand(buffer.shape, generator=generator) + 0.5).half().float())


def merges_file() -> Path:
    path = FIXTURES / "bpe_merges.txt.gz"
    lines = gzip.open(default_bpe()).read().decode("utf-8").split("\n")[: MERGES + 1]
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as file:
        file.write("\n".join(lines).encode("utf-8"))
    return path


def write_clip_tokenizer(directory: Path, tokenizer: SimpleTokenizer) -> None:
    """vocab.json and merges.txt, as Hugging Face's CLIP has them."""
    names = {
        token.replace("<start_of_text>", "<|startoftext|>").replace("<end_of_text>", "<|endoftext|>"): id
        for token, id in tokenizer.encoder.items()
    }
    (directory / "vocab.json").write_text(json.dumps(names, ensure_ascii=False, separators=(",", ":")))
    merges = sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (directory / "merges.txt").write_text("\n".join(lines) + "\n")


def write_tokens(directory: Path, texts: list[str], sequences: list[list[int]]) -> None:
    content = {"texts": texts, "ids": sequences}
    (directory / "tokens.json").write_text(json.dumps(content, ensure_ascii=False) + "\n")


def write_unigram_tokenizer(directory: Path) -> None:
    """A SentencePiece unigram vocabulary of 60 pieces, with SigLIP's special tokens."""
    letters = [*"abcdefghijklmnopqrstuvwxyz", "é", "一", "只", "狗"]
    words = ["\u2581a", "\u2581dog", "\u2581runs", "\u2581the", "\u2581on", "ing", "ch", "ed", "th", "al"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -20.0), ("\u2581", -4.0)]
    pieces += [(word, -3.0) for word in words] + [(letter, -6.0) for letter in letters]
    pieces += [(f"<unused{i}>", -30.0) for i in range(60 - len(pieces))]
    inner = tokenizers.Tokenizer(tokenizers.models.Unigram(pieces, unk_id=2, byte_fallback=False))
    inner.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace(prepend_scheme="always")
    inner.post_processor = tokenizers.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    inner.add_special_tokens(["<pad>", "</s>", "<unk>"])
    inner.save(str(directory / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>",
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")


def write_word_pieces(directory: Path, count: int) -> transformers.PreTrainedTokenizerBase:
    """vocab.txt, as Chinese-CLIP has it."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = [*special, *letters, *(f"##{letter}" for letter in letters), *"一只狗在雪地里跑的人，。!", "dog", "##ing", "play"]
    words += [f"[unused{i}]" for i in range(count - len(words))]
    assert len(words) == count
    (directory / "vocab.txt").write_text("\n".join(words) + "\n")
    (directory / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True}) + "\n")
    return transformers.BertTokenizer(str(directory / "vocab.txt"))


def packed(sequences: list[list[int]]) -> dict[str, torch.Tensor]:
    offsets = [0]
    for ids in sequences:
        offsets.append(offsets[-1] + len(ids))
    flat = [id for ids in sequences for id in ids]
    return {"ids": torch.tensor(flat).float(), "offsets": torch.tensor(offsets).float()}


def save_model(directory: Path, model: torch.nn.Module, weights: str, shards: int = 1) -> None:
    tensors = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    tensors = {name: value for name, value in tensors.items() if "num_batches" not in name and "position_ids" not in name}
    if shards == 1:
        save_file(tensors, directory / weights, metadata={"format": "pt"})
        return
    names = sorted(tensors)
    stem, suffix = weights.split(".")
    index = {}
    for shard in range(shards):
        file = f"{stem}-{shard + 1:05}-of-{shards:05}.{suffix}"
        part = {name: tensors[name] for name in names[shard::shards]}
        save_file(part, directory / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    total = sum(value.numel() * 2 for value in tensors.values())
    content = {"metadata": {"total_size": total}, "weight_map": index}
    (directory / f"{weights}.index.json").write_text(json.dumps(content, indent=1) + "\n")


def save_golden(directory: Path, model, encode_image, encode_text, text_side, sequences, image_size=IMAGE_SIZE) -> None:
    """Computes in double precision; `text_side` says which tensors belong to the text."""
    torch.manual_seed(5)
    images = torch.randn(2, 3, image_size, image_size).half().float()
    model.double().eval()
    image_embeddings = F.normalize(encode_image(images.double()), dim=-1)
    text_embeddings = F.normalize(encode_text(), dim=-1)
    upstream = torch.randn(text_embeddings.shape)
    (text_embeddings * upstream).sum().backward()
    golden = {
        "images": images.permute(0, 2, 3, 1).contiguous(),
        "image_embeddings": image_embeddings.detach().float(),
        "text_embeddings": text_embeddings.detach().float(),
        "upstream": upstream,
        **packed(sequences),
    }
    for name, parameter in model.named_parameters():
        if text_side(name):
            assert parameter.grad is not None, name
            golden[f"gradient.{name}"] = parameter.grad.float()
    save_file(golden, directory / "golden.safetensors")


def fresh(name: str) -> Path:
    directory = FIXTURES / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def strip(ids: torch.Tensor, padding: int) -> list[list[int]]:
    """Rows without the padding at their ends."""
    rows = []
    for row in ids.tolist():
        while row and row[-1] == padding:
            row.pop()
        rows.append(row)
    return rows


def native_text(**changes) -> dict:
    return {
        "context_length": CONTEXT_LENGTH,
        "vocab_size": VOCABULARY,
        "width": 16,
        "heads": 2,
        "layers": 2,
        **changes,
    }


def native_vision(**changes) -> dict:
    return {"image_size": IMAGE_SIZE, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8, **changes}


def open_clip_model(name: str, model_cfg: dict, tokenizer: SimpleTokenizer, seed: int, trunk_args: dict | None = None) -> None:
    directory = fresh(name)
    arguments = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    vision_cfg = dict(arguments["vision_cfg"])
    vision_cfg.pop("timm_model_args", None)
    arguments["vision_cfg"] = vision_cfg
    if "multimodal_cfg" in model_cfg:
        build = open_clip.CoCa
    elif model_cfg.get("custom_text"):
        build = open_clip.CustomTextCLIP
    else:
        build = open_clip.CLIP
    create = timm.create_model
    timm.create_model = functools.partial(create, **(trunk_args or {}))
    try:
        model = build(**arguments)
    finally:
        timm.create_model = create
    randomise(model, seed)
    save_model(directory, model, "open_clip_model.safetensors")
    text_cfg = model_cfg["text_cfg"]
    context_length = text_cfg["context_length"]
    if text_cfg.get("no_causal_mask"):
        torch.manual_seed(3)
        ids = torch.randint(2, text_cfg["vocab_size"], (3, context_length))
        ids[1, 5:] = 1
        sequences = ids.tolist()
        write_unigram_tokenizer(directory)
        reference = open_clip.tokenizer.HFTokenizer(str(directory), context_length, clean="canonicalize")
        write_tokens(directory, TEXTS, reference(TEXTS).tolist())
    else:
        ids = tokenizer(TEXTS, context_length)
        sequences = strip(ids, 0)
        write_clip_tokenizer(directory, tokenizer)
        write_tokens(directory, TEXTS, sequences)
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    (directory / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_golden(
        directory,
        model,
        model.encode_image,
        lambda: model.encode_text(ids),
        lambda name: not name.startswith(("visual.", "logit", "text_decoder.")),
        sequences,
        model_cfg["vision_cfg"]["image_size"],
    )


def open_clip_models(tokenizer: SimpleTokenizer) -> None:
    clip = {"embed_dim": EMBED_DIM, "quick_gelu": True, "vision_cfg": native_vision(), "text_cfg": native_text()}
    open_clip_model("open_clip_vit", clip, tokenizer, 1)

    resnet = {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {"image_size": 64, "layers": [1, 2, 1, 1], "width": 4, "head_width": 32, "patch_size": None},
        "text_cfg": native_text(),
    }
    open_clip_model("open_clip_resnet", resnet, tokenizer, 2)

    coca = {
        "embed_dim": EMBED_DIM,
        "vision_cfg": native_vision(attentional_pool=True, attn_pooler_queries=4, attn_pooler_heads=4, output_tokens=True),
        "text_cfg": native_text(embed_cls=True, output_tokens=True),
        "multimodal_cfg": {"context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY, "width": EMBED_DIM, "heads": 2, "layers": 0},
        "custom_text": True,
    }
    open_clip_model("open_clip_coca", coca, tokenizer, 3)

    eva_args = {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    eva = {
        "embed_dim": EMBED_DIM,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "timm_model_name": "eva02_base_patch16_clip_224",
            "timm_model_args": eva_args,
            "timm_model_pretrained": False,
            "timm_pool": "token",
            "timm_proj": None,
        },
        "text_cfg": native_text(),
        "custom_text": True,
    }
    open_clip_model("open_clip_eva02", eva, tokenizer, 4, eva_args)

    siglip_args = {"img_size": IMAGE_SIZE, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 2}
    siglip = {
        "embed_dim": 24,
        "init_logit_bias": -10,
        "custom_text": True,
        "vision_cfg": {
            "image_size": IMAGE_SIZE,
            "timm_model_name": "vit_base_patch16_siglip_224",
            "timm_model_args": siglip_args,
            "timm_model_pretrained": False,
            "timm_pool": "map",
            "timm_proj": "none",
        },
        "text_cfg": native_text(
            vocab_size=60,
            hf_tokenizer_name="timm/ViT-B-16-SigLIP",
            tokenizer_kwargs={"clean": "canonicalize"},
            no_causal_mask=True,
            proj_bias=True,
            pool_type="last",
            norm_kwargs={"eps": 1e-6},
            act_kwargs={"approximate": "tanh"},
        ),
    }
    open_clip_model("open_clip_siglip", siglip, tokenizer, 5, siglip_args)


def chinese_resnet() -> None:
    """Chinese-CLIP's RN50: a modified ResNet and a BERT whose first token is projected by one matrix."""
    directory = fresh("open_clip_chinese_resnet")
    bert = transformers.BertConfig(
        vocab_size=90,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=40,
    )
    (directory / "config.json").write_text(json.dumps(bert.to_dict(), indent=1) + "\n")
    vision_cfg = {"image_size": 64, "layers": [1, 1, 2, 1], "width": 4, "head_width": 32, "patch_size": None}
    text_cfg = {
        "hf_model_name": "hfl/rbt3",
        "hf_model_pretrained": False,
        "hf_tokenizer_name": "hfl/rbt3",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_proj_type": "linear",
        "context_length": CONTEXT_LENGTH,
    }
    local = {**text_cfg, "hf_model_name": str(directory)}
    model = open_clip.CustomTextCLIP(EMBED_DIM, vision_cfg, local)
    randomise(model, 14)
    save_model(directory, model, "open_clip_model.safetensors")
    model_cfg = {"embed_dim": EMBED_DIM, "custom_text": True, "vision_cfg": vision_cfg, "text_cfg": text_cfg}
    config = {"model_cfg": model_cfg, "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]}}
    (directory / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")
    write_word_pieces(directory, 90)
    reference = open_clip.tokenizer.HFTokenizer(str(directory), CONTEXT_LENGTH)
    sequences = strip(reference(CHINESE_TEXTS), 0)
    write_tokens(directory, CHINESE_TEXTS, sequences)

    def encode_text() -> torch.Tensor:
        return torch.cat([model.encode_text(torch.tensor([ids])) for ids in sequences])

    def text_side(name: str) -> bool:
        return name.startswith("text.") and "pooler" not in name

    save_golden(directory, model, model.encode_image, encode_text, text_side, sequences, 64)


def hugging_face_model(name: str, model, sequences: list[list[int]], seed: int, shards: int = 1) -> Path:
    directory = fresh(name)
    randomise(model, seed)
    model.config.architectures = [type(model).__name__]
    (directory / "config.json").write_text(json.dumps(model.config.to_dict(), indent=1) + "\n")
    save_model(directory, model, "model.safetensors", shards)
    processor = {
        "crop_size": {"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.4, 0.3],
        "image_processor_type": "CLIPImageProcessor",
        "image_std": [0.2, 0.25, 0.3],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": IMAGE_SIZE},
    }
    (directory / "preprocessor_config.json").write_text(json.dumps(processor, indent=1) + "\n")

    def encode_text() -> torch.Tensor:
        rows = [model.get_text_features(input_ids=torch.tensor([ids])).pooler_output for ids in sequences]
        return torch.cat(rows)

    save_golden(
        directory,
        model,
        lambda images: model.get_image_features(pixel_values=images).pooler_output,
        encode_text,
        lambda name: name.startswith("text_") and "pooler" not in name,
        sequences,
    )
    return directory


def hugging_face_models(tokenizer: SimpleTokenizer) -> None:
    ids = strip(tokenizer(TEXTS, CONTEXT_LENGTH), 0)
    text = {
        "vocab_size": VOCABULARY,
        "hidden_size": 16,
        "intermediate_size": 40,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": CONTEXT_LENGTH,
    }
    vision = {
        "hidden_size": 24,
        "intermediate_size": 52,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": IMAGE_SIZE,
        "patch_size": 8,
    }
    eot = tokenizer.eot_token_id
    clip = transformers.CLIPConfig(
        text_config={**text, "eos_token_id": eot, "bos_token_id": eot - 1, "pad_token_id": 1},
        vision_config={**vision, "hidden_act": "gelu"},
        projection_dim=EMBED_DIM,
    )
    directory = hugging_face_model("hugging_face_clip", transformers.CLIPModel(clip), ids, 11, shards=2)
    write_clip_tokenizer(directory, tokenizer)
    reference = transformers.CLIPTokenizer(str(directory / "vocab.json"), str(directory / "merges.txt"))
    write_tokens(directory, TEXTS, reference(TEXTS, truncation=True, max_length=CONTEXT_LENGTH)["input_ids"])

    torch.manual_seed(3)
    padded = torch.randint(2, 60, (3, CONTEXT_LENGTH))
    padded[1, 5:] = 1
    siglip = transformers.SiglipConfig(
        text_config={**text, "vocab_size": 60, "projection_size": 24}, vision_config=vision
    )
    directory = hugging_face_model("hugging_face_siglip", transformers.SiglipModel(siglip), padded.tolist(), 12)
    write_unigram_tokenizer(directory)
    reference = transformers.AutoTokenizer.from_pretrained(directory)
    padding = {"padding": "max_length", "truncation": True, "max_length": CONTEXT_LENGTH}
    write_tokens(directory, TEXTS, reference(TEXTS, **padding)["input_ids"])

    chinese = transformers.ChineseCLIPConfig(
        text_config={**text, "vocab_size": 90, "max_position_embeddings": 40}, vision_config=vision, projection_dim=EMBED_DIM
    )
    torch.manual_seed(4)
    sequences = [torch.randint(1, 90, (length,)).tolist() for length in (7, 1, 12)]
    directory = hugging_face_model("hugging_face_chinese_clip", transformers.ChineseCLIPModel(chinese), sequences, 13)
    reference = write_word_pieces(directory, 90)
    write_tokens(directory, CHINESE_TEXTS, reference(CHINESE_TEXTS, truncation=True, max_length=40)["input_ids"])


def as_the_authors_name_it(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A ChineseCLIPModel's tensors under the names, and in the shapes, of Chinese-CLIP's own program (`cn_clip`)."""
    renamed = {"logit_scale": tensors["logit_scale"]}
    renamed["visual.proj"] = tensors["visual_projection.weight"].T
    renamed["text_projection"] = tensors["text_projection.weight"].T
    plain = {
        "embeddings.class_embedding": "class_embedding", "embeddings.patch_embedding.weight": "conv1.weight",
        "embeddings.position_embedding.weight": "positional_embedding", "pre_layrnorm": "ln_pre", "post_layernorm": "ln_post",
        "encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
    }  # fmt: skip
    for name, tensor in tensors.items():
        if name.startswith("text_model."):
            renamed["bert." + name.removeprefix("text_model.")] = tensor
        elif name.startswith("vision_model.") and "self_attn.q_proj" in name:
            parts = [tensors[name.replace("q_proj", part)] for part in ("q_proj", "k_proj", "v_proj")]
            layer, kind = name.split(".")[3], name.rsplit(".", 1)[1]
            renamed[f"visual.transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
        elif name.startswith("vision_model.") and not any(part in name for part in ("k_proj", "v_proj", "position_ids")):
            name = name.removeprefix("vision_model.")
            for theirs, authors in plain.items():
                name = name.replace(theirs, authors)
            renamed["visual." + name] = tensor
    return {name: tensor.contiguous().clone() for name, tensor in renamed.items()}


def save_as_the_authors(tensors: dict[str, torch.Tensor], file: Path) -> None:
    """One checkpoint of a distributed training, in half precision, as it is published."""
    state = {f"module.{name}": tensor.half() for name, tensor in as_the_authors_name_it(tensors).items()}
    torch.save({"epoch": 15, "step": 11_000, "name": "ViT-B-16@RoBERTa", "state_dict": state}, file)


def original_chinese_clip() -> None:
    """A checkpoint of Chinese-CLIP's authors beside the vocabulary: no configuration, heads of 64."""
    directory = fresh("original_chinese_clip")
    text = {"vocab_size": 90, "hidden_size": 64, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 1}
    vision = {
        "hidden_size": 64, "intermediate_size": 80, "num_hidden_layers": 2, "num_attention_heads": 1, "image_size": 24,
        "patch_size": 8,
    }  # fmt: skip
    config = transformers.ChineseCLIPConfig(
        text_config={**text, "max_position_embeddings": 40}, vision_config=vision, projection_dim=EMBED_DIM
    )
    model = transformers.ChineseCLIPModel(config)
    randomise(model, 15)
    model.half().float()
    save_as_the_authors({name: tensor for name, tensor in model.state_dict().items() if "pooler" not in name}, directory / "clip_cn_tiny.pt")
    torch.manual_seed(4)
    sequences = [torch.randint(1, 90, (length,)).tolist() for length in (7, 1, 12)]

    def encode_text() -> torch.Tensor:
        return torch.cat([model.get_text_features(input_ids=torch.tensor([ids])).pooler_output for ids in sequences])

    def encode_image(images: torch.Tensor) -> torch.Tensor:
        return model.get_image_features(pixel_values=images).pooler_output

    text_side = lambda name: name.startswith("text_") and "pooler" not in name  # noqa: E731
    save_golden(directory, model, encode_image, encode_text, text_side, sequences, 24)
    golden = load_file(directory / "golden.safetensors")
    for name in [name for name in golden if name.startswith("gradient.")]:
        authors = name.replace(".text_model.", ".bert.").replace("text_projection.weight", "text_projection")
        gradient = golden.pop(name)
        golden[authors] = gradient.T.contiguous() if authors.endswith("text_projection") else gradient
    save_file(golden, directory / "golden.safetensors")
    reference = write_word_pieces(directory, 90)
    (directory / "tokenizer_config.json").unlink()
    write_tokens(directory, CHINESE_TEXTS, reference(CHINESE_TEXTS, truncation=True, max_length=40)["input_ids"])


def checkpoints() -> None:
    """The same few tensors as safetensors, as a pickle and as a training program's checkpoint."""
    directory = FIXTURES.parent / "checkpoints"
    directory.mkdir(exist_ok=True)
    torch.manual_seed(6)
    tensors = {
        "logit_scale": torch.tensor(4.5),
        "single": torch.randn(3, 5),
        "half": torch.randn(7).half(),
        "brain": torch.randn(2, 2, 2).bfloat16(),
    }
    save_file(tensors, directory / "model.safetensors")
    torch.save({**tensors, "position_ids": torch.arange(4)}, directory / "model.bin")
    state = {f"module.{name}": value for name, value in tensors.items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": state, "optimizer": {"step": 7}}, directory / "training.pt")


def main() -> None:
    FIXTURES.mkdir(parents=True, exist_ok=True)
    tokenizer = SimpleTokenizer(bpe_path=str(merges_file()), context_length=CONTEXT_LENGTH)
    open_clip_models(tokenizer)
    chinese_resnet()
    checkpoints()
    hugging_face_models(tokenizer)
    original_chinese_clip()
    versions = {module.__name__: module.__version__ for module in (torch, open_clip, timm, transformers)}
    (FIXTURES / "versions.json").write_text(json.dumps(versions, indent=1) + "\n")


if __name__ == "__main__":
    main()

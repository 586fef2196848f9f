"""Makes a retriever that reads Chinese characters but has not learned what they mean yet.

    python3 tools/weights/make_chinese_start.py models/relens-mini ENGLISH.json CHINESE.json runs/chinese/start

The picture side is relens-mini's. The text side keeps some of its layers and gets a vocabulary of single characters
(those of the Chinese training captions) with embeddings to start from: a character begins as the mean of the English
word pieces that its pictures' English captions have conspicuously often (positive pointwise mutual information).
`relens train retriever --config configs/chinese/retriever.toml` then teaches it. Needs numpy, safetensors, tokenizers.
"""

import argparse
import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
NEAREST = 6
"""English word pieces that a character's first embedding is the mean of."""


def captions_by_picture(path: Path) -> dict[str, list[str]]:
    images = json.loads(path.read_text(encoding="utf-8"))["images"]
    return {
        image["filename"]: [sentence["raw"] for sentence in image["sentences"]]
        for image in images
        if image["split"] == "train"
    }


def character_tokenizer(texts: list[str]) -> Tokenizer:
    counts = Counter(character for text in texts for character in text.lower() if not character.isspace())
    kept = [character for character, count in counts.most_common() if count > 1]
    vocabulary = {token: place for place, token in enumerate([*SPECIAL, *kept])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    # Every character is a token, those of Latin words and numbers too.
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Split("", "isolated")]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    return tokenizer


def presence(tokenizer: Tokenizer, captions: dict[str, list[str]], names: list[str], size: int) -> np.ndarray:
    """Which tokens the captions of each picture have, `[pictures, tokens]`."""
    found = np.zeros((len(names), size), np.float32)
    for row, name in enumerate(names):
        for encoded in tokenizer.encode_batch(captions[name], add_special_tokens=False):
            found[row, encoded.ids] = 1
    return found


def first_embeddings(chinese: np.ndarray, english: np.ndarray, embeddings: np.ndarray) -> np.ndarray:
    pictures = len(chinese)
    together = chinese.T @ english
    expected = np.outer(chinese.sum(0), english.sum(0)) / pictures
    # Rare pairs are conspicuous by chance: five more than expected are asked for.
    gain = np.log((together + 1e-9) / (expected + 1e-9))
    gain[(together < expected + 5) | (gain < 0)] = 0
    weakest = -np.sort(-gain, axis=1)[:, NEAREST - 1 : NEAREST]
    gain[gain < np.maximum(weakest, 1e-6)] = 0
    weights = gain / np.maximum(gain.sum(1, keepdims=True), 1e-6)
    mean = (english.sum(0) @ embeddings) / english.sum()
    without = weights.sum(1, keepdims=True) == 0
    spread = np.random.default_rng(0).normal(0, 0.02, (len(weights), embeddings.shape[1]))
    return (weights @ embeddings + without * mean + spread).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("english", type=Path)
    parser.add_argument("chinese", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 2, 5], help="the text tower's layers to keep")
    arguments = parser.parse_args()
    english, chinese = captions_by_picture(arguments.english), captions_by_picture(arguments.chinese)
    names = sorted(english.keys() & chinese.keys())
    tokenizer = character_tokenizer([text for name in names for text in chinese[name]])
    own = Tokenizer.from_file(str(arguments.model / "tokenizer.json"))
    own.no_truncation()
    own.no_padding()
    weights = load_file(arguments.model / "open_clip_model.safetensors")
    prefix = "text.transformer."
    table = f"{prefix}embeddings.word_embeddings.weight"
    old = weights[table].astype(np.float32)
    new = first_embeddings(
        presence(tokenizer, chinese, names, tokenizer.get_vocab_size()),
        presence(own, english, names, own.get_vocab_size()),
        old,
    )
    for place, token in enumerate(SPECIAL):
        new[place] = old[own.token_to_id(token)]
    kept = {table: new}
    for name, tensor in weights.items():
        layer = f"{prefix}encoder.layer."
        if name.startswith(layer):
            number, rest = name[len(layer) :].split(".", 1)
            if int(number) in arguments.layers:
                kept[f"{layer}{arguments.layers.index(int(number))}.{rest}"] = tensor.astype(np.float32)
        elif name != table:
            kept[name] = tensor.astype(np.float32)
    arguments.target.mkdir(parents=True, exist_ok=True)
    save_file(kept, arguments.target / "open_clip_model.safetensors")
    tokenizer.save(str(arguments.target / "tokenizer.json"))
    config = json.loads((arguments.model / "config.json").read_text(encoding="utf-8"))
    config |= {"vocab_size": tokenizer.get_vocab_size(), "num_hidden_layers": len(arguments.layers)}
    (arguments.target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copy(arguments.model / "open_clip_config.json", arguments.target)


if __name__ == "__main__":
    main()

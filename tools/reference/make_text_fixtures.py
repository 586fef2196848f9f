"""Token ids, and a BERT's hidden states and gradients, from Hugging Face transformers.

Writes into crates/relens-models/tests/fixtures:
- bert.safetensors, bert_config.json: a tiny seeded BERT, its hidden states and gradients;
- tokenizer.json: a WordPiece tokenizer with the first few thousand entries of MiniLM's vocabulary;
- tokenizer_ids.json: odd texts and their ids, by the small tokenizer and by MiniLM's own;
- minilm.safetensors, minilm_sentences.json: mean-pooled embeddings of ordinary sentences by the real MiniLM.

    python3 tools/reference/make_text_fixtures.py PATH_TO/all-MiniLM-L6-v2
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures"
CONTEXT_LENGTH = 24

ODD_TEXTS = [
    "",
    " ",
    "a",
    "A dog runs through the grass.",
    "  two   children\tplay\n\nfootball  ",
    "naïve café, São Paulo; Ångström!",
    "Nai\u0308ve cafe\u0301 (decomposed)",
    "一只狗在草地上奔跑",
    "犬が走る dog 개가 달린다",
    "собака бежит по траве",
    "الكلب يجري في العشب",
    "🐕 runs 🏃‍♀️ with 👨‍👩‍👧 and 🇳🇱",
    "zero\u200bwidth\u00adsoft\ufeffbom",
    "bell\u0007 null\u0000 escape\u001b[31m \ufffd",
    "ＦＵＬＬ ｗｉｄｔｈ ﬁgure ½ ² ™",
    "don't rock'n'roll e-mail x/y #tag @name $5.99 100% <b>",
    "[CLS] literal [SEP] specials [MASK] [PAD] [UNK]",
    "supercalifragilisticexpialidocious " + "x" * 150,
    "I\u0307stanbul STRASSE straße ŒUVRE",
    "\u0301\u0302\u0303",
    "word " * 40,
    "、。！？「」…—–‘’“”",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𠜎 𐍈",
    "tab\tline\u2028para\u2029nbsp\u00a0thin\u2009end",
]

SENTENCES = [
    "A dog runs through the grass.",
    "Two children play football on a beach.",
    "A man in a red jacket climbs a snowy mountain.",
    "The woman is reading a newspaper on the train.",
    "Three brown horses stand behind a wooden fence.",
    "a black dog and a white dog with brown spots",
    "Boy jumping.",
    "A skateboarder in mid air above a concrete ramp, with a crowd of onlookers behind a rope in the evening sun.",
    "People walk across a busy street at night under neon signs.",
    "An old fisherman repairs his nets next to a small blue boat.",
    "query: bicycle",
    "a little girl with pigtails paints on a large piece of paper taped to the kitchen floor",
    "Someone is surfing a huge wave.",
    "The quick brown fox jumps over the lazy dog 42 times!",
    "一只狗在草地上奔跑",
    "A café in São Paulo",
    "wedding",
    "A group of friends laugh around a campfire while one of them plays the guitar.",
    "Football players in white and green tackle each other.",
    "An empty room.",
]


def tiny_bert() -> None:
    config = BertConfig(
        vocab_size=120,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=56,
        max_position_embeddings=40,
        attn_implementation="eager",
    )
    torch.manual_seed(7)
    model = BertModel(config, add_pooling_layer=False).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            # Norm weights and biases start at constants, and small weights hide errors: move all of them.
            parameter.add_(torch.randn_like(parameter) * 0.12)
    tensors = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}

    offsets = [0, 7, 8, 19, 24, 40]
    ids = torch.randint(0, config.vocab_size, (offsets[-1],))
    upstream = torch.randn(len(offsets) - 1, config.hidden_size)
    model.double()
    hidden = torch.cat(
        [model(ids[None, start:end]).last_hidden_state[0] for start, end in zip(offsets, offsets[1:])]
    )
    pooled = torch.stack([hidden[start:end].mean(0) for start, end in zip(offsets, offsets[1:])])
    (pooled * upstream).sum().backward()
    for name, parameter in model.named_parameters():
        tensors[f"gradient.{name}"] = parameter.grad.float()
    tensors["golden.ids"] = ids.float()
    tensors["golden.offsets"] = torch.tensor(offsets).float()
    tensors["golden.hidden"] = hidden.detach().float()
    tensors["golden.pooled"] = pooled.detach().float()
    tensors["golden.upstream"] = upstream
    save(tensors, "bert.safetensors")
    (FIXTURES / "bert_config.json").write_text(json.dumps(config.to_dict(), indent=1) + "\n")


def tokenizers(minilm: Path) -> None:
    full = json.loads((minilm / "tokenizer.json").read_text())
    by_id = sorted(full["model"]["vocab"].items(), key=lambda entry: entry[1])
    kept = [token for token, id in by_id if not token.startswith("[unused") and id < 6000]
    small = {**full, "model": {**full["model"], "vocab": {token: id for id, token in enumerate(kept)}}}
    ids = small["model"]["vocab"]
    for token in small["added_tokens"]:
        token["id"] = ids[token["content"]]
    for token in small["post_processor"]["special_tokens"].values():
        token["ids"] = [ids[token["id"]]]
    path = FIXTURES / "tokenizer.json"
    path.write_text(json.dumps(small, ensure_ascii=False, separators=(",", ":")))

    def encode(file: Path) -> list[list[int]]:
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
        return [wrapped(text, truncation=True, max_length=CONTEXT_LENGTH)["input_ids"] for text in ODD_TEXTS]

    golden = {
        "transformers": transformers.__version__,
        "context_length": CONTEXT_LENGTH,
        "texts": ODD_TEXTS,
        "small": encode(path),
        "minilm": encode(minilm / "tokenizer.json"),
    }
    (FIXTURES / "tokenizer_ids.json").write_text(json.dumps(golden) + "\n")


def minilm_embeddings(minilm: Path) -> None:
    model = BertModel.from_pretrained(minilm, add_pooling_layer=False, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    pooled = []
    with torch.inference_mode():
        for sentence in SENTENCES:
            ids = torch.tensor([tokenizer.encode(sentence).ids])
            pooled.append(model(ids).last_hidden_state[0].mean(0))
    save({"pooled": torch.stack(pooled)}, "minilm.safetensors")
    (FIXTURES / "minilm_sentences.json").write_text(json.dumps(SENTENCES, indent=1) + "\n")


def save(tensors: dict[str, torch.Tensor], name: str) -> None:
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, FIXTURES / name, versions)


def main() -> None:
    minilm = Path(sys.argv[1])
    tiny_bert()
    tokenizers(minilm)
    minilm_embeddings(minilm)
    for path in sorted(FIXTURES.iterdir()):
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()

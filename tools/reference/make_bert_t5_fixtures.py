"""A tiny seeded BERT that reads and T5 that writes: logits and gradients, from the parts of Hugging Face transformers.

Writes bert_t5.safetensors (weights, golden logits and gradients) and bert_t5.json (its config.json, the batch, what
greedy decoding writes) into crates/relens-models/tests/fixtures.

    python3 tools/reference/make_bert_t5_fixtures.py
"""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers import BertConfig, BertModel, T5Config, T5ForConditionalGeneration

FIXTURES = Path(__file__).parents[2] / "crates/relens-models/tests/fixtures"

ENCODER = dict(
    vocab_size=40,
    hidden_size=12,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=20,
    max_position_embeddings=48,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
DECODER = dict(
    vocab_size=24,
    d_model=16,
    d_kv=6,
    d_ff=28,
    num_layers=1,
    num_decoder_layers=2,
    num_heads=3,
    relative_attention_num_buckets=8,
    relative_attention_max_distance=20,
    n_positions=64,
    eos_token_id=1,
    pad_token_id=0,
    decoder_start_token_id=0,
    feed_forward_proj="relu",
    tie_word_embeddings=True,
)
START, END = DECODER["decoder_start_token_id"], DECODER["eos_token_id"]
PROMPT_LENGTHS = [7, 1, 12, 40]
TARGET_LENGTHS = [5, 3, 26, 1]
NEW_TOKENS = 12
SEED = 26


class BertT5(nn.Module):
    """As relens stores it: the names of the parameters are those of the file."""

    def __init__(self) -> None:
        super().__init__()
        width = DECODER["d_model"]
        config = T5Config(**DECODER, attn_implementation="eager")
        t5 = T5ForConditionalGeneration(config)
        self.encoder = BertModel(BertConfig(**ENCODER, attn_implementation="eager"), add_pooling_layer=False)
        self.memory = nn.Linear(3 * ENCODER["hidden_size"], width, bias=False)
        self.memory_norm = nn.Module()
        self.memory_norm.weight = nn.Parameter(torch.ones(width))
        self.shared = t5.shared
        self.decoder = t5.decoder
        self.copying = nn.ModuleDict(
            {
                "q": nn.Linear(width, width, bias=False),
                "k": nn.Linear(width, width, bias=False),
                "gate": nn.Linear(width, 1),
            }
        )

    def read(self, prompt: torch.Tensor) -> torch.Tensor:
        last = self.encoder(prompt[None]).last_hidden_state[0]
        words = self.encoder.embeddings.word_embeddings(prompt)
        before = nn.functional.pad(words[:-1], (0, 0, 1, 0))
        memory = self.memory(torch.cat([last, words, before], -1))
        mean_square = memory.pow(2).mean(-1, keepdim=True)
        return memory * torch.rsqrt(mean_square + 1e-6) * self.memory_norm.weight

    def forward(self, prompt: torch.Tensor, inputs: torch.Tensor) -> torch.Tensor:
        memory = self.read(prompt)
        states = self.decoder(input_ids=inputs[None], encoder_hidden_states=memory[None]).last_hidden_state[0]
        can_be_written = (prompt < DECODER["vocab_size"]) & (prompt != START) & (prompt != END)
        written = self.shared(torch.where(can_be_written, prompt, 0)) * can_be_written[:, None]
        scores = self.copying["q"](states) @ self.copying["k"](memory).T / states.shape[-1] ** 0.5
        states = states + self.copying["gate"](states) * (scores.softmax(-1) @ written)
        return (states * DECODER["d_model"] ** -0.5) @ self.shared.weight.T

    def greedy(self, prompt: torch.Tensor) -> list[int]:
        ids = [START]
        while len(ids) <= NEW_TOKENS and ids[-1] != END:
            ids.append(self(prompt, torch.tensor(ids))[-1].argmax().item())
        return ids[1:]


def main() -> None:
    torch.manual_seed(SEED)
    model = BertT5().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # Norm weights start at one, and small weights hide errors: move all of them.
            scale = 0.5 if "relative_attention_bias" in name or "shared" in name else 0.18
            parameter.add_(torch.randn_like(parameter) * scale)
            # Flatter probabilities, so that greedy decoding does not stay at one token.
            if "shared" in name:
                parameter.mul_(0.3)
    stored = {name: value for name, value in model.named_parameters() if name != "decoder.embed_tokens.weight"}
    tensors = {name: value.detach().clone() for name, value in stored.items()}

    # Prompts hold tokens that cannot be written, and the one that ends a text.
    prompts = [torch.randint(1, ENCODER["vocab_size"], (length,)) for length in PROMPT_LENGTHS]
    targets = [torch.randint(2, DECODER["vocab_size"], (length - 1,)).tolist() + [END] for length in TARGET_LENGTHS]
    upstream = torch.randn(sum(TARGET_LENGTHS), DECODER["vocab_size"])

    model.double()
    greedy = [model.greedy(prompt) for prompt in prompts]
    logits = [model(prompt, torch.tensor([START, *target[:-1]])) for prompt, target in zip(prompts, targets)]
    logits = torch.cat(logits)
    (logits * upstream).sum().backward()
    for name, parameter in stored.items():
        gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        tensors[f"gradient.{name}"] = gradient.float()
    tensors["golden.logits"] = logits.detach().float()
    tensors["golden.upstream"] = upstream
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    path = FIXTURES / "bert_t5.safetensors"
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, versions)
    golden = {
        "config": {"model_type": "bert-t5", "encoder": ENCODER, "decoder": DECODER},
        "prompts": [prompt.tolist() for prompt in prompts],
        "targets": targets,
        "greedy": greedy,
    }
    path.with_suffix(".json").write_text(json.dumps({**versions, **golden}) + "\n")
    print(path.stat().st_size, greedy)


if __name__ == "__main__":
    main()

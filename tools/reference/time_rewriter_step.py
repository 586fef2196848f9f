"""Time a training step of a T5-small-shaped model in PyTorch eager, on the batch that the Rust example uses.

    cargo run --release --package relens-training --example time_rewriter_step
    python3 tools/reference/time_rewriter_step.py

Both: T5-small's sizes (60 M parameters, 6 + 6 layers, width 512, 8 heads, vocabulary 32128), 32 pairs of a prompt of
16 and a target of 12 tokens, forward, cross-entropy, backward, clipping at 1, AdamW; dropout off; median of 8 steps.
"""

import statistics
import time

import torch
from transformers import T5Config, T5ForConditionalGeneration

BATCH, PROMPT, TARGET, STEPS = 32, 16, 12, 8


def main():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    config = T5Config(
        d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, vocab_size=32128, dropout_rate=0.0,
        decoder_start_token_id=0,
    )
    model = T5ForConditionalGeneration(config).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    prompts = torch.randint(5, 32000, (BATCH, PROMPT))
    targets = torch.randint(5, 32000, (BATCH, TARGET))
    times = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        loss = model(input_ids=prompts, labels=targets).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        times.append(time.perf_counter() - start)
    tokens = BATCH * (PROMPT + TARGET)
    median = statistics.median(times[1:])
    print(f"torch {torch.__version__}: {1000 * median:.0f} ms a step, {tokens / median:.0f} tokens a second")


if __name__ == "__main__":
    main()

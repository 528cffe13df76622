"""Times of the same decoders in `transformers` with PyTorch on CUDA, eager attention, f32, scores read back."""

import time

import torch
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM

from random_checkpoints import HEAD_DIM, SIZES

CONTEXT = 256
REPEATS = 50


def milliseconds(step):
    torch.cuda.synchronize()
    started = time.perf_counter()
    step()
    return (time.perf_counter() - started) * 1e3


def report(name, times):
    times = sorted(times[REPEATS // 10 :])
    print(f"{name:32} median {times[len(times) // 2]:7.3f} ms, best {times[0]:7.3f} ms", flush=True)


@torch.no_grad()
def main():
    for name, size in SIZES.items():
        config = LlamaConfig(
            hidden_size=size["hidden"],
            intermediate_size=size["inner"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["keys"],
            head_dim=HEAD_DIM,
            vocab_size=size["vocabulary"],
            max_position_embeddings=2048,
            tie_word_embeddings=True,
            attn_implementation="eager",
        )
        model = LlamaForCausalLM(config).cuda().eval()

        def tokens(batch, count):
            return torch.full((batch, count), 9, device="cuda")

        for what, batch, count in [("decode", 1, 1), ("verify 8", 1, 8), ("decode, batch 8", 8, 1)]:
            cache = DynamicCache(config=config)
            model(tokens(batch, CONTEXT), past_key_values=cache)
            times = []
            for _ in range(REPEATS):
                times.append(milliseconds(lambda: model(tokens(batch, count), past_key_values=cache).logits.cpu()))
                cache.crop(-count)
            report(f"{name} {what}", times)
        prefill = lambda: model(tokens(1, CONTEXT), logits_to_keep=1).logits.cpu()
        report(f"{name} prefill {CONTEXT}", [milliseconds(prefill) for _ in range(REPEATS)])


if __name__ == "__main__":
    main()

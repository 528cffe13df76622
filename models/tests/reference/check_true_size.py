"""A published checkpoint's structure at true size, with random weights, against transformers. Run by hand.

    cargo build --release -p msao-models --features media-decode,chat-template --example answer
    python models/tests/reference/check_true_size.py SmolVLM-256M-Instruct --answer target/release/examples/answer

Writes the checkpoint into a temporary folder (bfloat16, two bytes a parameter), asks both about a picture in tiles, and compares
prompt tokens, inputs, scores (1e-3 of the largest) and 32 greedy tokens. Needs what make_published_golden.py needs, and memory
for the checkpoint twice in float32.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import transformers

import make_published_golden as golden
import published
import true_size


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=published.CONFIGS)
    parser.add_argument("--answer", type=Path, required=True, help="the example `answer`, built")
    parser.add_argument("--size", type=int, nargs=2, default=(400, 100), help="width and height of the picture")
    args = parser.parse_args()
    torch.set_num_threads(2)
    config = published.CONFIGS[args.name]
    sees = "vision_config" in config
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        template, tokenizer = true_size.write_checkpoint(args.name, folder)
        pictures = []
        if sees:
            golden.picture(*args.size).save(folder / "picture.png")
            pictures = [str(folder / "picture.png")]
        command = [args.answer, folder, str(golden.NEW_TOKENS), true_size.QUESTION, *pictures]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        module = true_size.module_of(args.name, folder, torch.float32)

    turns = [[[tuple(args.size)] if sees else [], true_size.QUESTION, None]]
    inputs = dict(golden.prompt_ids(config, tokenizer, template, turns))
    inputs.pop("token_type_ids", None)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    out = module.generate(
        **inputs, do_sample=False, max_new_tokens=golden.NEW_TOKENS, min_new_tokens=golden.NEW_TOKENS,
        return_dict_in_generate=True, output_logits=True, pad_token_id=2,
    )  # fmt: skip
    count = inputs["input_ids"].shape[1]
    tokens, scores = out.sequences[0, count:].tolist(), out.logits[0][0]
    error = float((torch.tensor(ours["scores"]) - scores).abs().max() / scores.abs().max())
    results = {
        "prompt tokens equal": ours["ids"] == inputs["input_ids"][0].tolist(),
        "inputs equal": sum(ours["inputs"]) == (inputs["pixel_values"].shape[1] if sees else 0),
        "scores within 1e-3": error < 1e-3,
        "32 tokens equal": ours["tokens"] == tokens,
    }
    print(f"{args.name}: {count} prompt tokens, {sum(ours['inputs'])} inputs, scores off by {error:.1e} of the largest, "
          f"{len(set(tokens))} different tokens of {len(tokens)}, seconds {ours['rounds'][0]}, transformers {transformers.__version__}")
    print("\n".join(f"{'ok  ' if holds else 'FAIL'} {what}" for what, holds in results.items()))
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()

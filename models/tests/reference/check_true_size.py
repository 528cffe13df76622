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

QUESTION = "What colour is the small circle?"


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=published.CONFIGS)
    parser.add_argument("--answer", type=Path, required=True, help="the example `answer`, built")
    parser.add_argument("--size", type=int, nargs=2, default=(400, 100), help="width and height of the picture")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    config = published.CONFIGS[args.name]
    sees = "vision_config" in config
    module = golden.model(config, "cpu").to(torch.bfloat16)
    for name, value in module.named_parameters():
        # The initial scale says the same token for ever; this one does not.
        if value.ndim > 1 and "embed" not in name:
            value.normal_(std=1.5 / value[0].numel() ** 0.5)
    file = json.loads(golden.TOKENIZER.read_text())
    tokenizer = golden.filled(file)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        module.save_pretrained(folder, max_shard_size="400MB")
        (folder / "config.json").write_text(json.dumps(config))
        if sees:
            (folder / "preprocessor_config.json").write_text(json.dumps(published.preprocessor_config(config)))
            tokenizer.save(str(folder / "tokenizer.json"))
        else:
            # Text alone has no tokens behind its vocabulary.
            file = json.loads(tokenizer.to_str())
            file["added_tokens"] = [token for token in file["added_tokens"] if token["id"] < golden.BASE_VOCAB]
            (folder / "tokenizer.json").write_text(json.dumps(file))
        template = published.SMOLVLM_TEMPLATE if sees else published.SMOLLM2_TEMPLATE
        (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
        pictures = []
        if sees:
            golden.picture(*args.size).save(folder / "picture.png")
            pictures = [str(folder / "picture.png")]
        command = [args.answer, folder, str(golden.NEW_TOKENS), QUESTION, *pictures]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    turns = [[[tuple(args.size)] if sees else [], QUESTION, None]]
    inputs = dict(golden.prompt_ids(config, tokenizer, template, turns))
    inputs.pop("token_type_ids", None)
    # A new one, since what is no parameter, as the rotary frequencies, has never been rounded in it.
    weights = {name: tensor.float() for name, tensor in module.state_dict().items()}
    module = golden.model(config, "cpu").float()
    module.load_state_dict(weights)
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
          f"{len(set(tokens))} different tokens of {len(tokens)}, seconds {ours['seconds']}, transformers {transformers.__version__}")
    print("\n".join(f"{'ok  ' if holds else 'FAIL'} {what}" for what, holds in results.items()))
    sys.exit(not all(results.values()))


if __name__ == "__main__":
    main()

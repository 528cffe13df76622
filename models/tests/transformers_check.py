"""`transformers` itself loads the vision-and-text part of the shipped checkpoints and answers questions with it.

    python models/tests/transformers_check.py            # compares with the committed answers; exits 1 on a difference
    python models/tests/transformers_check.py --write    # writes them

The answers stand in golden/transformers_answers.json, and `tests/transformers_answers.rs` holds the Rust model to the
same file: token for token, from the same PNG files. What `tests/published.rs` holds it to, of the structure of published
checkpoints, is compared as well (`reference/make_published_golden.py`). Needs torch, transformers, numpy and pillow; no network.
"""
import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import SmolVLMForConditionalGeneration
from transformers.utils import logging

MODELS = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden" / "transformers_answers.json"
CHECKPOINTS = ["pocket-edge", "pocket-cloud"]
MAX_NEW_TOKENS = 80


def pixels(path: Path, side: int) -> np.ndarray:
    """[3, side, side] in -1..1: the centre square, resized as preprocessor_config.json says."""
    image = Image.open(path).convert("RGB")
    edge = min(image.size)
    left, top = (image.width - edge) // 2, (image.height - edge) // 2
    image = image.crop((left, top, left + edge, top + edge)).resize((side, side), Image.Resampling.LANCZOS)
    return (np.asarray(image, np.float32) / 255 - 0.5).transpose(2, 0, 1) / 0.5


def prompt(tokenizer: Tokenizer, question: str, frames: int, image_tokens: int) -> list[int]:
    """`<|im_start|>User:{pictures}{question}<end_of_utterance>\\nAssistant:`, special tokens by id."""
    special = tokenizer.token_to_id
    text = lambda t: tokenizer.encode(t, add_special_tokens=False).ids
    picture = [special("<fake_token_around_image>"), special("<global-img>"), *[special("<image>")] * image_tokens,
               special("<fake_token_around_image>")]
    return [special("<|im_start|>"), *text("User:"), *picture * frames, *text(question), special("<end_of_utterance>"),
            *text("\nAssistant:")]


@torch.no_grad()
def answers(checkpoint: str) -> list[dict]:
    folder = MODELS / "weights" / checkpoint
    model, report = SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    if report["missing_keys"]:
        sys.exit(f"{checkpoint}: transformers misses {sorted(report['missing_keys'])}")
    config, tokenizer = model.eval().config, Tokenizer.from_file(str(folder / "tokenizer.json"))
    side = config.vision_config.image_size
    tokens = (side // config.vision_config.patch_size // config.scale_factor) ** 2
    gallery = MODELS / "eval" / "gallery"
    out = []
    for sample in json.loads((gallery / "gallery.json").read_text())["samples"]:
        if not sample["images"] or not sample["question"]:
            continue
        images = [torch.tensor(pixels(gallery / name, side)) for name in sample["images"]]
        ids = torch.tensor([prompt(tokenizer, sample["question"], len(images), tokens)])
        written = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.stack(images)[None],
                                 do_sample=False, max_new_tokens=MAX_NEW_TOKENS)[0, ids.shape[1]:].tolist()
        if written[-1] == config.text_config.eos_token_id:
            written.pop()
        out.append({"id": sample["id"], "tokens": written, "text": tokenizer.decode(written)})
    return out


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(2)
    found = {name: answers(name) for name in CHECKPOINTS}
    if args.write:
        lines = ",\n".join(f' "{name}": [\n  ' + ",\n  ".join(json.dumps(a) for a in found[name]) + "\n ]" for name in found)
        GOLDEN.write_text("{\n" + lines + "\n}\n")
        return
    known = json.loads(GOLDEN.read_text())
    wrong = [f"{name} {a['id']}: transformers writes {a['text']!r}, the file says {b['text']!r}"
             for name in CHECKPOINTS for a, b in zip(found[name], known[name], strict=True) if a != b]
    print("\n".join(wrong))
    print(f"transformers: {sum(map(len, found.values())) - len(wrong)} answers equal, {len(wrong)} differ")
    sys.path.insert(0, str(Path(__file__).resolve().parent / "reference"))
    import make_published_golden
    import make_speech_golden

    differing = [make_published_golden.check(), make_speech_golden.check()]
    sys.exit(bool(wrong) or any(differing))


if __name__ == "__main__":
    main()

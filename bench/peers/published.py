"""Times a published checkpoint's structure at true size, with random weights, in MSAO and in transformers, in one run.

    cargo build --release -p msao-models --features media-decode,chat-template --example answer
    python bench/peers/published.py SmolVLM-256M-Instruct --ours cpu:f32 cpu:int8 --theirs cpu:float32 cpu:bfloat16

The same files go to both, in bfloat16 as published; both are asked about the same picture, in turn, each in a process of its own.
A figure is the median over all rounds: milliseconds of the towers, milliseconds to the first token (towers and prefill, from decoded
pictures on; transformers' preprocessing is not counted, ours is), tokens a second behind it, and the most memory that the process had.
For transformers the towers and the decoder are called directly, without `generate` around them. The first scores are compared before
anything is said of times.

Needs torch, transformers, tokenizers, safetensors, pillow and numpy. `vulkan:f32` needs the example built with `--features vulkan`,
`cuda:float16` a machine with both.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "models/tests/reference"
sys.path.insert(0, str(REFERENCE))

#: Times of a round that the table has.
FIGURES = ("encode", "first_token", "decode")


class DeviceMemory:
    """The most memory that the GPU had in use beyond what it had before, as its driver tells; 0 where none tells."""

    def __init__(self):
        self.before, self.most, self.ends = self.read(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    @staticmethod
    def read():
        command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        try:
            return int(subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.split()[0]) << 20
        except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            return 0

    def watch(self):
        while not self.ends.wait(0.05):
            self.most = max(self.most, self.read() - self.before)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ends.set()
        self.thread.join()


def ours(args, folder, kind, fmt):
    """One process of the example; its rounds in seconds."""
    command = [args.answer, "--device", kind, "--weights-format", fmt, "--threads", str(args.threads), "--rounds", str(args.repeats),
               folder, str(args.tokens), args.question, *args.pictures]
    with DeviceMemory() as device:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{kind}:{fmt}: {done.stderr.strip()[-300:]}")
    report = json.loads(done.stdout)
    return {"rounds": report["rounds"], "scores": report["scores"], "tokens": report["tokens"],
            "prompt": len(report["ids"]), "inputs": sum(report["inputs"]), "peak_bytes": report["memory_bytes"]["peak"],
            "device_bytes": device.most if kind != "cpu" else 0}


def theirs(args, folder, device, dtype):
    """One process of this script with `--engine`."""
    command = [sys.executable, __file__, args.name, "--engine", f"{device}:{dtype}", "--folder", folder, "--threads", args.threads,
               "--repeats", args.repeats, "--tokens", args.tokens, "--question", args.question, "--size", *args.size]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"transformers {device}:{dtype}: {done.stderr.strip()[-300:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run_transformers(args):
    """Times transformers in this process."""
    import torch

    import make_published_golden as golden
    import published
    import true_size

    device, dtype = args.engine.split(":")
    torch.set_grad_enabled(False)
    if args.threads:
        torch.set_num_threads(args.threads)
    config = published.CONFIGS[args.name]
    sees = "vision_config" in config
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(args.folder / "tokenizer.json"))
    template = json.loads((args.folder / "chat_template.json").read_text())["chat_template"]
    turns = [[[tuple(args.size)] if sees else [], args.question, None]]
    inputs = golden.prompt_ids(config, tokenizer, template, turns)
    module = true_size.module_of(args.name, args.folder, getattr(torch, dtype), device)
    ids = inputs["input_ids"].to(device)
    pixels = inputs["pixel_values"].to(device, module.dtype) if sees else None
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)

    def once():
        from transformers import DynamicCache

        start = time.perf_counter()
        given = {}
        encode_s = 0.0
        if sees:
            # In one pass, which transformers does as well.
            features = module.model.get_image_features(pixels)
            features = getattr(features, "pooler_output", features)
            wait()
            encode_s = time.perf_counter() - start
            given = {"image_hidden_states": torch.cat(list(features)) if isinstance(features, (list, tuple)) else features}
        cache = DynamicCache(config=module.config.get_text_config())
        out = module(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1, **given)
        scores = out.logits[0, -1].float()
        token = int(scores.argmax())
        first_s = time.perf_counter() - start
        tokens, start = [token], time.perf_counter()
        while len(tokens) < args.tokens:
            out = module(input_ids=torch.tensor([[token]], device=device), past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = int(out.logits[0, -1].argmax())
            tokens.append(token)
        return {"encode": encode_s, "first_token": first_s, "decode": time.perf_counter() - start}, scores, tokens

    once()
    rounds = [once() for _ in range(args.repeats)]
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rounds": [times for times, _, _ in rounds], "scores": rounds[-1][1].tolist(), "tokens": rounds[-1][2],
                      "prompt": ids.shape[1], "inputs": pixels.shape[1] if sees else 0, "peak_bytes": peak}))


def summary(name, runs, reference, tokens):
    """One row of the table from all runs of an engine."""
    median = {figure: statistics.median(times[figure] for run in runs for times in run["rounds"]) for figure in FIGURES}
    scale = max(abs(score) for score in reference["scores"])
    error = max(abs(a - b) for a, b in zip(runs[-1]["scores"], reference["scores"], strict=True)) / scale
    equal = sum(a == b for a, b in zip(runs[-1]["tokens"], reference["tokens"]))
    return {"engine": name, "encode_ms": median["encode"] * 1e3, "first_token_ms": median["first_token"] * 1e3,
            "tokens_per_s": (tokens - 1) / median["decode"], "peak_gb": max(run["peak_bytes"] for run in runs) / 1e9,
            "device_gb": max(run.get("device_bytes", 0) for run in runs) / 1e9,
            "score_error": error, "equal_tokens": equal}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", help="as in models/published")
    parser.add_argument("--ours", nargs="*", default=["cpu:f32"], help="device:format")
    parser.add_argument("--theirs", nargs="*", default=["cpu:float32"], help="device:dtype; the first is what scores are held to")
    parser.add_argument("--answer", type=Path, default=ROOT / "target/release/examples/answer")
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), help="width and height of the picture")
    parser.add_argument("--question", default="What colour is the small circle?")
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each engine, in turn")
    parser.add_argument("--repeats", type=int, default=3, help="questions of each process, behind one unmeasured")
    parser.add_argument("--folder", type=Path, help="where the checkpoint is, or is written to; else a temporary one")
    parser.add_argument("--out", type=Path, help="the table as JSON")
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.engine:
        return run_transformers(args)
    args.repeats = max(args.repeats, 2)
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.folder or Path(scratch)
        compare(args, folder)


def compare(args, folder):
    import make_published_golden as golden
    import published
    import true_size

    if not (folder / "config.json").exists():
        true_size.write_checkpoint(args.name, folder)
    args.pictures = []
    if "vision_config" in published.CONFIGS[args.name]:
        golden.picture(*args.size).save(folder / "picture.png")
        args.pictures = [folder / "picture.png"]
    engines = [(f"transformers {name}", theirs, name.split(":")) for name in args.theirs]
    engines += [(f"MSAO {name}", ours, name.split(":")) for name in args.ours]
    runs = {name: [] for name, _, _ in engines}
    for _ in range(args.rounds):
        for name, run, parts in engines:
            try:
                runs[name].append(run(args, folder, *parts))
            except RuntimeError as error:
                print(error, file=sys.stderr)
    reference = next(found[0] for found in runs.values() if found)
    rows = [summary(name, found, reference, args.tokens) for name, found in runs.items() if found]
    print(f"{args.name}, {args.size[0]}x{args.size[1]}: {reference['prompt']} prompt tokens, {reference['inputs']} inputs\n")
    print("| engine | towers ms | first token ms | tokens/s | peak GB | on the device, GB | scores off by | tokens equal |\n|---|---|---|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['engine']} | {row['encode_ms']:.0f} | {row['first_token_ms']:.0f} | {row['tokens_per_s']:.1f} "
              f"| {row['peak_gb']:.2f} | {row['device_gb']:.2f} | {row['score_error']:.1e} | {row['equal_tokens']} of {args.tokens} |")
    if args.out:
        found = {"name": args.name, "size": args.size, "prompt": reference["prompt"], "inputs": reference["inputs"], "rows": rows}
        args.out.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()

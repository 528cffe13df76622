"""Times the edge model in a browser beside transformers.js, on the same weights in one run.

The checkpoint is exported as transformers.js reads it; the page in web/ then asks both the questions of the gallery that have a
picture and words, in turn. Answers are compared with those that `transformers` gives (models/tests/golden).

    cargo xtask engines
    python bench/peers/web.py --rounds 3
    python bench/peers/web.py --rounds 3 --device webgpu --dimensions smolvlm-256m
    python bench/peers/web.py --rounds 1 --dimensions smolvlm-256m --formats stored int8 q4 --questions 2 --longest 32 --transformers

Needs torch, transformers, onnx, tokenizers, pillow and numpy; npm, which fetches transformers.js; and Chromium (`MSAO_CHROMIUM`, else on
PATH). `--device webgpu` compares both on WebGPU, and counts what each gives the GPU to do for a token. `--dimensions` takes random weights of a
published size in place of the pocket edge model; answers are then compared with those of transformers.js. `--threads 2` gives transformers.js two threads, and
MSAO one and two. `--formats` lets MSAO keep the weights in others than the files'. `--transformers` asks the same of `transformers` itself, on the CPU in f32.

What each engine takes in memory is measured in a browser of its own with one question: the most that its page's process had resident.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

import torch

import random_checkpoint
from graphs import export_decoder

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "@huggingface/transformers@4.3.1"
#: The peer's name, as the page has it.
PEER = "transformers.js"


def export(folder, into):
    """The three graphs of a SmolVLM by the names of transformers.js, with the checkpoint's own settings."""
    from transformers import SmolVLMForConditionalGeneration

    torch.set_grad_enabled(False)
    model = SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    graphs = into / "onnx"
    graphs.mkdir(parents=True)
    side = model.config.vision_config.image_size

    class Vision(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.connector = model.model.vision_model, model.model.connector

        def forward(self, pixel_values):
            # All patches are there, so their positions are those of the table in order.
            embeddings = self.tower.embeddings
            patches = embeddings.patch_embedding(pixel_values.flatten(0, 1)).flatten(2).transpose(1, 2)
            hidden = patches + embeddings.position_embedding.weight
            for layer in self.tower.encoder.layers:
                hidden = layer(hidden, None)
            return self.connector(self.tower.post_layernorm(hidden))

    torch.onnx.export(
        Vision(), (torch.zeros(1, 2, 3, side, side),), str(graphs / "vision_encoder.onnx"), dynamo=False, opset_version=17,
        input_names=["pixel_values"], output_names=["image_features"],
        dynamic_axes={"pixel_values": {0: "batch", 1: "frames"}, "image_features": {0: "frames"}})
    torch.onnx.export(
        model.model.text_model.embed_tokens, (torch.full((1, 2), 9),), str(graphs / "embed_tokens.onnx"), dynamo=False,
        opset_version=17, input_names=["input_ids"], output_names=["inputs_embeds"],
        dynamic_axes={"input_ids": {0: "batch", 1: "rows"}, "inputs_embeds": {0: "batch", 1: "rows"}})
    export_decoder(model.model.text_model, model.lm_head, graphs / "decoder_model_merged.onnx")
    for name in ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(folder / name, into / name)


def questions(folder, into, arguments):
    """Questions with a picture and words, as ids and pixels, and the answers of `transformers` where they are known."""
    from tokenizers import Tokenizer

    sys.path.insert(0, str(ROOT / "models/tests"))
    from transformers_check import pixels, prompt

    config = json.loads((folder / "config.json").read_text())
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    side = config["vision_config"]["image_size"]
    tokens = (side // config["vision_config"]["patch_size"] // config["scale_factor"]) ** 2
    gallery = ROOT / "models/eval/gallery"
    golden = json.loads((ROOT / "models/tests/golden/transformers_answers.json").read_text())
    known = folder.name in golden
    answers = {answer["id"]: answer["tokens"] for answer in golden[folder.name if known else "pocket-edge"]}
    listed = []
    for sample in json.loads((gallery / "gallery.json").read_text())["samples"]:
        if sample["id"] not in answers or not known and len(listed) == arguments.questions:
            continue
        stack = b"".join(pixels(gallery / image, side).astype("float32").tobytes() for image in sample["images"])
        (into / f"{sample['id']}.f32").write_bytes(stack)
        listed.append({
            "id": sample["id"], "question": sample["question"], "side": side, "pixels": f"/questions/{sample['id']}.f32",
            "images": [f"/gallery/{image}" for image in sample["images"]],
            "ids": prompt(tokenizer, sample["question"], len(sample["images"]), tokens), "answer": answers[sample["id"]] if known else None,
        })
    told = {name: getattr(arguments, name) for name in ("rounds", "device", "vendor", "threads", "formats", "longest")}
    return told | {"questions": listed}


def of_transformers(folder, listed, into):
    """Times of the library itself, greedily, on as many threads as the page has, with what it answers."""
    import numpy
    from transformers import SmolVLMForConditionalGeneration

    torch.set_num_threads(listed["threads"])
    model = SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    runs = []
    for question in listed["questions"]:
        side = question["side"]
        values = numpy.fromfile(into / f"{question['id']}.f32", dtype=numpy.float32).reshape(1, -1, 3, side, side)
        ids, times = torch.tensor([question["ids"]]), [time.perf_counter()]
        given = {"pixel_values": torch.tensor(values)}
        with torch.inference_mode():
            cache, tokens = None, []
            for _ in range(listed["longest"]):
                found = model(input_ids=ids, past_key_values=cache, use_cache=True, **given)
                cache, given, ids = found.past_key_values, {}, found.logits[:, -1:].argmax(-1)
                times.append(time.perf_counter())
                if ids.item() == model.config.eos_token_id:
                    break
                tokens.append(ids.item())
        milliseconds = numpy.diff(times) * 1e3
        runs.append({"id": question["id"], "first_ms": milliseconds[0], "token_ms": float(numpy.median(milliseconds[1:])),
                     "tokens_per_s": len(tokens) / (times[-1] - times[0]), "tokens": tokens})
    return runs


def most_resident_mb(browser):
    """The most that a page's process of this browser had in memory at any time."""
    most_kb, parents = 0, {browser}
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda place: int(place.name)):
        try:
            status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
            kind = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(status["PPid"]) in parents:
            parents.add(int(process.name))
            if b"--type=renderer" in kind and "VmHWM" in status:
                most_kb = max(most_kb, int(status["VmHWM"].split()[0]))
    return most_kb / 1e3


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the folders by their first name, and takes the result."""

    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {".mjs": "text/javascript", ".wasm": "application/wasm"}

    def __init__(self, *arguments, folders, listed, done, **rest):
        self.folders, self.listed, self.done = folders, listed, done
        super().__init__(*arguments, **rest)

    def translate_path(self, path):
        first, _, rest = path.split("?")[0].lstrip("/").partition("/")
        folder = self.folders.get(first)
        return str(folder / rest) if folder and ".." not in rest else str(self.folders[""] / first)

    def end_headers(self):
        # Threads need an isolated page.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_GET(self):
        if self.path == "/questions.json":
            kind, body = "application/json", json.dumps(self.listed).encode()
        elif self.path == "/engine/engine.js":
            # The engine's Worker counts as the page does.
            kind, body = "text/javascript", b'import "/gpu-work.mjs";\n' + Path(self.translate_path(self.path)).read_bytes()
        else:
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        self.done.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/weights/pocket-edge")
    parser.add_argument("--dimensions", choices=random_checkpoint.DIMENSIONS, help="random weights of this size instead")
    parser.add_argument("--vendor", help="whom the GPU must be of, such as nvidia")
    parser.add_argument("--device", choices=["wasm", "webgpu"], default="wasm")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--node-modules", type=Path, help="where transformers.js is installed already")
    parser.add_argument("--formats", nargs="+", default=["stored"], choices=["stored", "f32", "f16", "int8", "q4"])
    parser.add_argument("--questions", type=int, default=3, help="how many are asked of random weights")
    parser.add_argument("--longest", type=int, default=80, help="tokens of an answer at most")
    parser.add_argument("--transformers", action="store_true", help="ask the library itself too, on the CPU")
    parser.add_argument("--patience-s", type=int, default=600, help="seconds that a page may take")
    parser.add_argument("--flags", default="", help="further flags for Chromium")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chromium = os.environ.get("MSAO_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not chromium:
        sys.exit("no Chromium: set MSAO_CHROMIUM")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        scratch = Path(scratch)
        modules = arguments.node_modules
        if not modules:
            subprocess.run(["npm", "install", "--ignore-scripts", "--silent", "--prefix", scratch, PACKAGE], check=True)
            modules = scratch / "node_modules"
        checkpoint = arguments.checkpoint
        if arguments.dimensions:
            checkpoint = scratch / arguments.dimensions
            random_checkpoint.make(arguments.dimensions, arguments.checkpoint, checkpoint)
        export(checkpoint, scratch / "models/checkpoint")
        (scratch / "questions").mkdir()
        listed = questions(checkpoint, scratch / "questions", arguments)
        folders = {
            "": Path(__file__).parent / "web", "engine": ROOT / "wasm-runtime/pkg", "weights": checkpoint,
            "models": scratch / "models", "questions": scratch / "questions", "gallery": ROOT / "models/eval/gallery",
            "transformers": modules / "@huggingface/transformers/dist", "onnxruntime": modules / "onnxruntime-web/dist",
        }
        done = []
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, folders=folders, listed=listed, done=done))
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def visit(query=""):
            """What the page has to tell, and the memory it took."""
            done.clear()
            profile = scratch / f"profile{query[-9:]}"
            browser = subprocess.Popen(
                [chromium, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={profile}",
                 "--remote-debugging-port=0", *arguments.flags.split(), f"http://127.0.0.1:{server.server_port}/index.html{query}"],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                waited = threading.Event()
                for _ in range(arguments.patience_s):
                    if done or browser.poll() is not None:
                        break
                    waited.wait(1)
                resident_mb = most_resident_mb(browser.pid)
            finally:
                browser.terminate()
                browser.wait()
            if not done or "error" in done[0]:
                sys.exit(done[0]["error"] if done else "the page said nothing")
            return done[0], resident_mb

        told, _ = visit()
        names = ["MSAO" if name == "stored" else f"MSAO, {name}" for name in arguments.formats]
        resident = {name: visit(f"?only={urllib.parse.quote(name)}")[1] for name in [*names, PEER]}
        library = of_transformers(checkpoint, listed, scratch / "questions") if arguments.transformers else []
    compared = "transformers.js'" if arguments.dimensions else "`transformers`'"
    print(f"| engine | first token, ms | each after it, ms | tokens/s of whole answers | most in memory, MB | answers equal to {compared} |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, one in told["summary"].items():
        memory = f"{resident[name]:,.0f}" if name in resident else ""
        print(f"| {name} | {one['first_token_ms']:.1f} | {one['token_ms']:.2f} | {one['tokens_per_s']:.1f} | {memory} | "
              f"{one['equal_answers']} of {one['answers']} |")
    if library:
        first, token, whole = (statistics.median(run[what] for run in library) for what in ("first_ms", "token_ms", "tokens_per_s"))
        answered = {run["id"]: run["tokens"] for run in library}
        peers = {run["id"]: run["answer"] for run in told["runs"][PEER]}
        equal = sum(answered[name] == peers[name] for name in answered)
        print(f"| transformers, CPU | {first:.1f} | {token:.2f} | {whole:.1f} | | {equal} of {len(library)} |")
    for name, work in told["work"].items():
        print(f"{name}, a token: " + ", ".join(f"{count:.1f} {what}" for what, count in work.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(told | {"resident_mb": resident, "transformers": library}, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""Times the edge model in a browser beside transformers.js, on the same weights in one run.

The checkpoint is exported as transformers.js reads it; the page in web/ then asks both the questions of the gallery that have a
picture and words, in turn. Answers are compared with those that `transformers` gives (models/tests/golden).

    cargo xtask engines
    python bench/peers/web.py --rounds 3
    python bench/peers/web.py --rounds 3 --device webgpu --dimensions smolvlm-256m

Needs torch, transformers, onnx, tokenizers, pillow and numpy; npm, which fetches transformers.js; and Chromium (`MSAO_CHROMIUM`, else on
PATH). `--device webgpu` compares both on WebGPU, and counts what each gives the GPU to do for a token. `--dimensions` takes random weights of a
published size in place of the pocket edge model; answers are then compared with those of transformers.js. `--threads 2` gives transformers.js two threads, and
MSAO one and two.
"""

import argparse
import functools
import http.server
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import torch

import random_checkpoint
from graphs import export_decoder

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "@huggingface/transformers@4.3.1"
SECONDS = 600
#: Questions of the gallery that are asked of random weights.
FEW = 3


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


def questions(folder, into, rounds, device, vendor, threads):
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
        if sample["id"] not in answers or not known and len(listed) == FEW:
            continue
        stack = b"".join(pixels(gallery / image, side).astype("float32").tobytes() for image in sample["images"])
        (into / f"{sample['id']}.f32").write_bytes(stack)
        listed.append({
            "id": sample["id"], "question": sample["question"], "side": side, "pixels": f"/questions/{sample['id']}.f32",
            "images": [f"/gallery/{image}" for image in sample["images"]],
            "ids": prompt(tokenizer, sample["question"], len(sample["images"]), tokens), "answer": answers[sample["id"]] if known else None,
        })
    return {"rounds": rounds, "device": device, "vendor": vendor, "threads": threads, "questions": listed}


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
        listed = questions(checkpoint, scratch / "questions", arguments.rounds, arguments.device, arguments.vendor, arguments.threads)
        folders = {
            "": Path(__file__).parent / "web", "engine": ROOT / "wasm-runtime/pkg", "weights": checkpoint,
            "models": scratch / "models", "questions": scratch / "questions", "gallery": ROOT / "models/eval/gallery",
            "transformers": modules / "@huggingface/transformers/dist", "onnxruntime": modules / "onnxruntime-web/dist",
        }
        done = []
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", 0), functools.partial(Handler, folders=folders, listed=listed, done=done))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser = subprocess.Popen(
            [chromium, "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--user-data-dir={scratch / 'profile'}",
             "--remote-debugging-port=0", *arguments.flags.split(), f"http://127.0.0.1:{server.server_port}/index.html"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            waited = threading.Event()
            for _ in range(SECONDS):
                if done or browser.poll() is not None:
                    break
                waited.wait(1)
        finally:
            browser.terminate()
            browser.wait()
    if not done or "error" in done[0]:
        sys.exit(done[0]["error"] if done else "the page said nothing")
    compared = "transformers.js'" if arguments.dimensions else "`transformers`'"
    print(f"| engine | first token, ms | each after it, ms | tokens/s of whole answers | answers equal to {compared} |\n|---|---:|---:|---:|---:|")
    for name, one in done[0]["summary"].items():
        print(f"| {name} | {one['first_token_ms']:.1f} | {one['token_ms']:.2f} | {one['tokens_per_s']:.0f} | "
              f"{one['equal_answers']} of {one['answers']} |")
    for name, work in done[0]["work"].items():
        print(f"{name}, a token: " + ", ".join(f"{count:.1f} {what}" for what, count in work.items()))
    if arguments.out:
        arguments.out.write_text(json.dumps(done[0], indent=1) + "\n")


if __name__ == "__main__":
    main()

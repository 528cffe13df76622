"""Published checkpoints from the hub, answered by the server and by `transformers`, and compared: `cargo xtask hub`.

    python models/tests/hub_check.py target/debug/msao-server [OWNER/NAME ..]

For each checkpoint: the server fetches it, then answers without asking the hub again, then `transformers` answers from the same
folder; both greedily, in f32, about the same picture where the checkpoint sees. What differs is told token by token; exits 1
if anything does, or cannot be had. Needs the hub (or a mirror that HF_ENDPOINT names) the first time, torch, transformers,
numpy and pillow, and memory for the checkpoint twice over. `--tokens N` asks for longer answers.
"""
import argparse
import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "models/eval/gallery"
CHECKPOINTS = ["HuggingFaceTB/SmolVLM-256M-Instruct", "HuggingFaceTB/SmolVLM2-2.2B-Instruct"]
QUESTIONS = {True: "What is in this picture?", False: "Why is the sky blue?"}


def fetch(server: Path, name: str) -> Path:
    """The folder of a checkpoint that the server has fetched."""
    told = subprocess.run([server, "fetch", f"hub:{name}"], stdout=subprocess.PIPE, text=True)
    if told.returncode:
        sys.exit(f"{name} cannot be fetched: what is said above tells why; nothing was compared")
    print(told.stdout, end="", flush=True)
    line = next(line for line in told.stdout.splitlines() if line.strip().startswith("folder"))
    return Path(line.split(maxsplit=1)[1])


def ask_server(server: Path, name: str, picture: Path | None, tokens: int) -> str:
    """What the server answers, which may not ask the hub any more."""
    command = [server, "--weights", f"hub:{name}", "--hub-offline", "--listen", "127.0.0.1:0", "--log", "warn"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        ready = process.stdout.readline()
        if not ready:
            sys.exit(f"the server does not start with {name}: what is said above tells why")
        address = ready.split()[-1].rstrip("/")
        content = [{"type": "text", "text": QUESTIONS[picture is not None]}]
        if picture:
            data = base64.b64encode(picture.read_bytes()).decode()
            content.insert(0, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
        question = {"model": name.split("/")[1], "temperature": 0, "max_tokens": tokens,
                    "messages": [{"role": "user", "content": content}]}
        request = urllib.request.Request(f"{address}/v1/chat/completions", json.dumps(question).encode(),
                                         {"Content-Type": "application/json"})
        # This machine is not behind a proxy.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=1800) as response:
            return json.load(response)["choices"][0]["message"]["content"]
    finally:
        process.terminate()
        process.wait()


def ask_transformers(folder: Path, picture: Path | None, tokens: int):
    """What `transformers` answers, and its tokenizer."""
    import torch
    from PIL import Image
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer, Idefics3Processor
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

    question = QUESTIONS[picture is not None]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if picture:
        config = AutoConfig.from_pretrained(folder)
        # The processors by Pillow are the reference; those by torchvision round otherwise. What both families do with the
        # words around a picture is the same, and the older one's processor asks for no further package.
        kind = Idefics3ImageProcessorPil if config.model_type == "idefics3" else SmolVLMImageProcessorPil
        vision = config.vision_config
        seen = (vision.image_size // vision.patch_size // config.scale_factor) ** 2
        process = Idefics3Processor(kind.from_pretrained(folder), tokenizer, image_seq_len=seen, chat_template=template(folder))
        messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}]
        prompt = process.apply_chat_template(messages, add_generation_prompt=True)
        inputs = process(text=prompt, images=[Image.open(picture).convert("RGB")], return_tensors="pt")
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32)
    else:
        messages = [{"role": "user", "content": question}]
        prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        inputs = tokenizer(prompt, add_special_tokens=False, return_tensors="pt")
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        written = model.eval().generate(**inputs, do_sample=False, max_new_tokens=tokens)
    return tokenizer.decode(written[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True), tokenizer


def template(folder: Path) -> str:
    """A checkpoint's chat template, which stands in a file of its own."""
    if (folder / "chat_template.jinja").exists():
        return (folder / "chat_template.jinja").read_text()
    names = ["chat_template.json", "processor_config.json", "tokenizer_config.json"]
    files = [json.loads((folder / name).read_text()) for name in names if (folder / name).exists()]
    return next(file["chat_template"] for file in files if "chat_template" in file)


def difference(ours: str, theirs: str, tokenizer) -> str | None:
    """Where two answers part, in words; `None` where they do not."""
    ours, theirs = ours.strip(), theirs.strip()
    if ours == theirs:
        return None
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in (ours, theirs)]
    same = next((at for at, (a, b) in enumerate(zip(*ids)) if a != b), min(map(len, ids)))
    return f"the first {same} tokens are equal, then\n  the server   {ours!r}\n  transformers {theirs!r}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("server", type=Path, help="the program msao-server")
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS, metavar="OWNER/NAME")
    parser.add_argument("--tokens", type=int, default=32, help="tokens of an answer (32)")
    args = parser.parse_args()
    server = args.server.resolve()
    picture = next(path for path in sorted(PICTURE.glob("*.png")))
    wrong = 0
    for name in args.checkpoints:
        folder = fetch(server, name)
        sees = "vision_config" in json.loads((folder / "config.json").read_text())
        shown = picture if sees else None
        ours = ask_server(server, name, shown, args.tokens)
        os.environ["HF_HUB_OFFLINE"] = "1"
        theirs, tokenizer = ask_transformers(folder, shown, args.tokens)
        del os.environ["HF_HUB_OFFLINE"]
        differs = difference(ours, theirs, tokenizer)
        wrong += differs is not None
        print(f"{name}: {differs or 'equal: ' + repr(ours.strip())}", flush=True)
    print(f"{len(args.checkpoints) - wrong} of {len(args.checkpoints)} checkpoints answer as in transformers")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

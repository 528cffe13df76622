"""Writes checkpoint folders as Hugging Face lays them out, and checks them against `transformers`.

    python export.py --state OUT/edge.safetensors --preset edge --to ../weights/pocket-edge
    python export.py --state 'OUT/cloud-*.safetensors' --preset cloud --to ../weights/pocket-cloud
    python export.py --random --preset edge --to /tmp/pocket-edge-random     # untrained, to test loaders

The check loads the folder with `SmolVLMForConditionalGeneration.from_pretrained` (vision and text; the audio
tensors are ours) and with `WhisperEncoder`, and holds model.py's outputs to theirs in f32.
"""
import argparse
import glob
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from build_tokenizer import PATH as TOKENIZER_PATH
from config import CHUNK_SECONDS, PRESETS, SAMPLE_RATE, SPECIAL_TOKENS
from manifest import LICENCE, write_manifest
from model import PocketModel, count_parameters

CHAT_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{ message['role'] | capitalize }}:"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}<image>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'audio' %}<audio>{% endif %}{% endfor %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "<end_of_utterance>\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}")


def read_state(pattern: str) -> dict[str, torch.Tensor]:
    """Joins a state dict that was split into several files."""
    files = sorted(glob.glob(pattern))
    if not files:
        raise SystemExit(f"no file matches {pattern}")
    return {k: v for f in files for k, v in load_file(f).items()}


def save_state(state: dict[str, torch.Tensor], path: Path, limit: int = 14_000_000) -> list[Path]:
    """Saves as f16 in files under `limit` bytes: `path` itself, or `path-0`, `path-1`, ..."""
    parts, size = [{}], 0
    for name, tensor in state.items():
        tensor = tensor.detach().to("cpu", torch.float16).contiguous()
        if size + tensor.nbytes > limit and parts[-1]:
            parts.append({})
            size = 0
        parts[-1][name] = tensor
        size += tensor.nbytes
    names = [path] if len(parts) == 1 else [path.with_name(f"{path.stem}-{i}{path.suffix}") for i in range(len(parts))]
    for name, part in zip(names, parts):
        save_file(part, name)
    return names


def write_json(path: Path, value) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def export(model: PocketModel, folder: Path, how: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(TOKENIZER_PATH))
    ids = {t: tokenizer.token_to_id(t) for t in SPECIAL_TOKENS}
    c = model.config
    write_json(folder / "config.json", c.to_hf(ids))
    write_json(folder / "generation_config.json", {
        "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"],
        "pad_token_id": ids["<|pad|>"], "do_sample": False, "max_new_tokens": 128})
    shutil.copy(TOKENIZER_PATH, folder / "tokenizer.json")
    write_json(folder / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|im_start|>", "eos_token": "<end_of_utterance>",
        "pad_token": "<|pad|>", "model_max_length": 1024, "clean_up_tokenization_spaces": False,
        "additional_special_tokens": SPECIAL_TOKENS[3:], "chat_template": CHAT_TEMPLATE})
    write_json(folder / "preprocessor_config.json", {
        "image_processor_type": "MsaoImageProcessor", "size": {"height": c.image_size, "width": c.image_size},
        "resample": 1, "do_center_crop": True, "rescale_factor": 1 / 255, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "audio": {"feature_extractor_type": "WhisperFeatureExtractor", "sampling_rate": SAMPLE_RATE, "n_fft": 400,
                  "hop_length": 160, "feature_size": 80, "chunk_length_s": CHUNK_SECONDS}})
    state = {"model." + k: v.detach().to(torch.float16).contiguous() for k, v in model.state_dict().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    write_manifest(folder, {"name": c.name, "parameters": count_parameters(model), "licence": LICENCE, "how": how})


@torch.no_grad()
def check(folder: Path, preset: str) -> None:
    """Raises if `transformers` disagrees with model.py about the folder's weights."""
    from transformers import SmolVLMForConditionalGeneration, WhisperConfig
    from transformers.models.whisper.modeling_whisper import WhisperEncoder
    c = PRESETS[preset]
    state = {k.removeprefix("model."): v.float() for k, v in load_file(folder / "model.safetensors").items()}
    ours = PocketModel(c).eval()
    ours.load_state_dict(state)
    theirs = SmolVLMForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(0)
    pixels = torch.rand(2, 3, c.image_size, c.image_size) * 2 - 1
    n, start = c.image_tokens, 4
    ids = torch.randint(len(SPECIAL_TOKENS), c.vocab_size, (2, n + 24))
    ids[:, start:start + n] = config["image_token_id"]
    length = ids.shape[1]
    mask = torch.full((length, length), float("-inf")).triu(1)[None, None]
    image, _ = ours.encode_image(pixels)
    got = ours(ids, torch.arange(length).expand(2, -1), mask, [(torch.arange(start, start + n), image)])
    want = theirs(input_ids=ids, pixel_values=pixels[:, None], attention_mask=torch.ones_like(ids)).logits
    error = ((got - want).abs().max() / want.abs().max()).item()

    a = config["audio_config"]
    whisper = WhisperEncoder(WhisperConfig(**{k: v for k, v in a.items() if k not in ("model_type",)}, dropout=0.0)).eval()
    whisper.load_state_dict({k.removeprefix("audio_model."): v for k, v in state.items() if k.startswith("audio_model.")})
    mel = torch.randn(2, 80, 480)
    audio_got, audio_want = ours.audio_model(mel), whisper(mel).last_hidden_state
    audio_error = ((audio_got - audio_want).abs().max() / audio_want.abs().max()).item()
    print(f"{folder.name}: relative error of logits {error:.2e}, of audio features {audio_error:.2e}")
    if max(error, audio_error) > 1e-4:
        raise SystemExit("model.py and transformers disagree")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", help="state dict file or glob written by train.py")
    parser.add_argument("--random", action="store_true", help="random weights, to test loaders")
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--metrics", help="metrics.json of the run; its `how` goes to the manifest")
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = PocketModel(PRESETS[args.preset])
    if args.state:
        model.load_state_dict({k: v.float() for k, v in read_state(args.state).items()})
    how = {"made_by": "models/training/export.py", "weights": "random" if args.random else "trained"}
    if args.metrics:
        run = json.loads(Path(args.metrics).read_text()).get("how", {})
        how |= run.get(args.preset, run)
    export(model, args.to, how)
    check(args.to, args.preset)
    print(f"{args.to}: {count_parameters(model):,} parameters, "
          f"{(args.to / 'model.safetensors').stat().st_size / 1e6:.2f} MB")

"""Checks that training sees what the runtime will send: prompts, masks and log-mel. Exits non-zero if not.

    python check_contract.py

- a question's logits in a packed sequence equal those of its prompt alone, token by token of the chat template;
- `capture.log_mel` equals WhisperFeatureExtractor.
"""
import numpy as np
import torch
from transformers import WhisperFeatureExtractor

from capture import log_mel
from config import CHUNK_SECONDS, PRESETS, SAMPLES
from data import make_batch
from model import PocketModel
from packing import Layout, assemble, encode, token, tokenizer


def prompt(c, frames: int, present, question: str) -> str:
    image = "<fake_token_around_image><global-img>" + "<image>" * c.image_tokens + "<fake_token_around_image>"
    audio = "<audio_start>" + "<audio>" * c.audio_tokens + "<audio_end>"
    return (f"<|im_start|>User:{image * frames if present[0] else ''}{audio if present[1] else ''}"
            f"{question}<end_of_utterance>\nAssistant:")


@torch.no_grad()
def check_packing(name: str, clip: bool) -> float:
    c = PRESETS[name]
    torch.manual_seed(0)
    model = PocketModel(c).eval()
    batch, scenes = make_batch("test", range(7, 19), clip)
    frames = batch["images"].shape[1]
    layout = Layout.build(c, frames, "cpu")
    image = torch.randn(len(scenes), frames * c.image_tokens, c.hidden)
    sound = torch.randn(len(scenes), c.audio_tokens, c.hidden)
    ids, positions, mask, p = assemble(layout, batch)
    packed = model(ids, positions, mask, [(layout.image, image), (layout.audio, sound)])
    worst = 0.0
    for b, scene in enumerate(scenes):
        present = (scene.has_image, scene.has_audio)
        for n in range(1, int(batch["segment"][b][batch["segment"][b] < 200].max()) + 1):
            where = (batch["segment"][b] == n).nonzero().flatten()
            text = tokenizer().decode(batch["tokens"][b][where].tolist(), skip_special_tokens=False)
            question, answer = text.split("<end_of_utterance>\nAssistant:")
            alone = tokenizer().encode(prompt(c, frames, present, question) + answer, add_special_tokens=False).ids
            x = torch.tensor([alone])
            index = lambda t: (x[0] == token(t)).nonzero().flatten()
            feats = [(index("<image>"), image[b:b + 1])] * present[0] + [(index("<audio>"), sound[b:b + 1])] * present[1]
            causal = torch.full((len(alone),) * 2, float("-inf")).triu(1)[None, None]
            logits = model(x, torch.arange(len(alone))[None], causal, feats)[0, -len(where):]
            worst = max(worst, (logits - packed[b, p + where]).abs().max().item())
            assert len(alone) <= 448, len(alone)
    return worst


def check_mel() -> float:
    x = np.random.default_rng(0).normal(0, 0.1, SAMPLES).astype(np.float32)
    reference = WhisperFeatureExtractor(feature_size=80, sampling_rate=16000, hop_length=160, n_fft=400, chunk_length=CHUNK_SECONDS)
    reference.n_samples = SAMPLES
    want = reference(x, sampling_rate=16000, return_tensors="np", padding="max_length", max_length=SAMPLES).input_features[0]
    return float(np.abs(log_mel(torch.from_numpy(x)[None])[0].numpy() - want).max())


if __name__ == "__main__":
    errors = {"log-mel": check_mel()}
    for name in PRESETS:
        for clip in (False, True):
            errors[f"packing {name}{' clip' if clip else ''}"] = check_packing(name, clip)
    for what, error in errors.items():
        print(f"{what}: {error:.1e}")
    raise SystemExit(max(errors.values()) > 1e-2 and "training and runtime would see different things")

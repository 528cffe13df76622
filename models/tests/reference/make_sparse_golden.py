"""Golden tensors of the shipped checkpoints' sparse paths, from the training code that defines them.

    python models/tests/reference/make_sparse_golden.py

Image and audio tokens of pocket-cloud where only some are kept; the MAS probe on pocket-edge; and PyTorch's own count of
floating-point operations. `models/tests/sparse.rs` and `flops.rs` hold the Rust model to them. Inputs are formulas that
both sides compute. Needs torch, safetensors and tokenizers; no network.
"""
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch.utils.flop_counter import FlopCounterMode

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "training"))

from config import PRESETS  # noqa: E402
from mas_probe import MasProbe, early_features  # noqa: E402
from model import PocketModel  # noqa: E402
from packing import encode  # noqa: E402

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
KEPT_IMAGE, KEPT_AUDIO = [0, 1, 7, 14, 35], [3, 4, 5, 40]
QUESTION = "Read the sign, or if there is none tell me what you hear."


def pattern(*shape):
    """Values in -1..1 that any language computes alike."""
    n = torch.arange(torch.Size(shape).numel())
    return ((n * 7919 % 1000).float() / 500 - 1).view(shape)


def load(name):
    c = PRESETS[name]
    model = PocketModel(c).eval()
    state = load_file(ROOT / "weights" / c.name / "model.safetensors")
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in state.items()})
    return model, c


def mask(kept, count):
    m = torch.zeros(1, count, dtype=torch.bool)
    m[0, kept] = True
    return m


@torch.no_grad()
def main():
    out = {}
    cloud, c = load("cloud")
    cloud.double()
    pixels, mel = pattern(1, 3, c.image_size, c.image_size).double(), pattern(1, 80, 480).double()
    out["cloud_image"] = cloud.encode_image(pixels, mask(KEPT_IMAGE, c.image_tokens))[0][:, KEPT_IMAGE]
    out["cloud_audio"] = cloud.encode_audio(mel, mask(KEPT_AUDIO, c.audio_tokens))[0][:, KEPT_AUDIO]
    cloud.float()
    edge, e = load("edge")
    probe = MasProbe(e.hidden, e.vision_hidden, e.audio_hidden).eval()
    state = load_file(ROOT / "weights" / "pocket-edge" / "mas_probe.safetensors")
    state.pop("frame_mean")
    probe.load_state_dict({k: v.float() for k, v in state.items()})
    vision, audio = early_features(edge, pattern(1, 3, e.image_size, e.image_size), pattern(1, 80, 480))
    ids = torch.tensor([encode(QUESTION)])
    relevance, patches = probe(edge.text_model.embed_tokens.weight[ids], torch.tensor([ids.shape[1]]), vision, audio, torch.ones(1, 2))
    out["relevance"], out["patches"] = relevance.sigmoid()[0], patches.sigmoid()[0]
    save_file({k: v.float().contiguous() for k, v in out.items()}, GOLDEN / "sparse.safetensors")

    def count(run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    def decoder(new):
        model, k = cloud, new
        length = torch.zeros(1, 1, k, k)
        ids = torch.zeros(1, k, dtype=torch.long)
        return count(lambda: model.logits(model.hidden_states(ids, torch.arange(k)[None], length)[:, -1:]))

    flops = {
        "image": count(lambda: cloud.encode_image(pattern(1, 3, c.image_size, c.image_size))),
        "audio": count(lambda: cloud.encode_audio(pattern(1, 80, 480))),
        "decoder_128": decoder(128),
        "probe": count(lambda: probe(edge.text_model.embed_tokens.weight[ids], torch.tensor([ids.shape[1]]), vision, audio, torch.ones(1, 2))),
        "question_tokens": ids.shape[1], "torch": torch.__version__,
    }
    (GOLDEN / "flops.json").write_text(json.dumps(flops, indent=1) + "\n")
    print(flops)


if __name__ == "__main__":
    main()

"""What leaving out frames that tell nothing new costs: exact match of the pocket's cloud model on clips.

    python evaluate_frames.py --clips 256

Questions about held-out clips of four frames that need the picture are asked with all frames, with those that the runtime keeps
(planner/src/frames.rs: a frame whose most-changed cell differs by more than a threshold from the last kept frame), and with as many
frames chosen otherwise. Frames that are not kept enter neither tower nor decoder. Writes a table, and JSON with --out.
"""
import argparse
import json
import time
from collections import defaultdict
from pathlib import Path

import torch
import torch.nn.functional as F

from capture import log_mel, resize
from config import CLIP_FRAMES
from data import make_batch
from evaluate_saliency import WEIGHTS
from export import read_state
from packing import FAMILY_NAMES, exact_match
from sparsity import Kept, redundant_frames

CELLS, MAX_CHANGE = 32, 0.05  # as planner/src/frames.rs
THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)


def changed(pixels, frames: int, threshold: float, cells: int = CELLS):
    """Which frames of each clip differ from the last kept one. pixels [b * frames, 3, s, s] -> bool [b, frames]."""
    means = F.adaptive_avg_pool2d(pixels, cells).unflatten(0, (-1, frames))
    kept, last = [torch.ones(len(means), dtype=torch.bool)], means[:, 0].clone()
    for frame in means.unbind(1)[1:]:
        new = (frame - last).abs().flatten(1).amax(1) > threshold
        last[new] = frame[new]
        kept.append(new)
    return torch.stack(kept, 1)


def spread(count, frames: int):
    """As many frames spread evenly from the first to the last; of one, the first. count [b] -> bool [b, frames]."""
    rows = [torch.linspace(0, frames - 1, n).round().long() if n > 1 else torch.tensor([0]) for n in count.tolist()]
    return torch.stack([torch.zeros(frames, dtype=torch.bool).index_fill(0, row, True) for row in rows])


def at_random(count, frames: int):
    """As many frames, any. count [b] -> bool [b, frames]."""
    order = torch.rand(len(count), frames).argsort(1).argsort(1)
    return order < count[:, None]


def ways_of(batch):
    """Name -> which frames are kept, bool [b, frames]."""
    pixels, frames = batch["pixels"], batch["images"].shape[1]
    everything = torch.ones(len(batch["images"]), frames, dtype=torch.bool)
    ours = changed(pixels, frames, MAX_CHANGE)
    with_last = ours.clone()
    with_last[:, -1] = True
    count = ours.sum(1)
    ways = {
        "all frames": everything,
        f"changed by more than {100 * MAX_CHANGE:.0f} %": ours,
        "the same, and the last always": with_last,
        "what the drawing says has changed": ~redundant_frames(batch["label_map"], frames),
        "as many, spread from first to last": spread(count, frames),
        "as many, the first ones": torch.arange(frames) < count[:, None],
        "as many, at random": at_random(count, frames),
        "every other": (torch.arange(frames) % 2 == 0).expand(len(count), -1),
        "the first alone": (torch.arange(frames) == 0).expand(len(count), -1),
    }
    return ways | {f"threshold {t}": changed(pixels, frames, t) for t in THRESHOLDS if t != MAX_CHANGE}


@torch.no_grad()
def main(args):
    from train import Student, capture
    torch.manual_seed(args.seed)
    cloud = Student("cloud", torch.device("cpu"), False)
    state = read_state(str(WEIGHTS / "pocket-cloud" / "model.safetensors"))
    cloud.model.load_state_dict({k.removeprefix("model."): v.float() for k, v in state.items()})
    cloud.model.eval()
    right, by_family, kept_frames = defaultdict(int), defaultdict(int), defaultdict(int)
    asked, clips, missed, started = defaultdict(int), 0, defaultdict(int), time.time()
    for at in range(0, args.clips, args.chunk):
        raw, _ = make_batch("test", range(4_500_000 + at, 4_500_000 + min(at + args.chunk, args.clips)), True)
        batch = capture(raw)
        chosen = (batch["families"] != 255) & (batch["needs"][..., 0] > 0)
        chosen &= batch["present"][:, :1].bool()
        image = cloud.model.encode_image(resize(batch["pixels"], cloud.config.image_size))[0]
        sound = cloud.model.encode_audio(log_mel(batch["wave"]))[0]
        full, seen = Kept.of(batch, cloud.config), chosen.any(1)
        clips += int(seen.sum())
        for family in batch["families"][chosen].tolist():
            asked[FAMILY_NAMES[family]] += 1
        for way, frames in ways_of(batch).items():
            kept = Kept(full.image & frames[..., None], full.audio)
            match = exact_match(cloud.answer_logits(batch, image, sound, kept), batch) & chosen
            right[way] += int(match.sum())
            for family in batch["families"][match].tolist():
                by_family[way, FAMILY_NAMES[family]] += 1
            kept_frames[way] += int(frames[seen].sum())
        print(f"{sum(asked.values())} questions about {clips} clips ({time.time() - started:.0f} s)", flush=True)
    total, families = sum(asked.values()), sorted(asked)
    lines = ["| frames | exact match | frames kept | " + " | ".join(f.removeprefix("clip_") for f in families) + " |",
             "|---" + "|---:" * (2 + len(families)) + "|"]
    lines += [f"| {way} | {100 * right[way] / total:.1f} | {100 * n / clips / CLIP_FRAMES:.1f} % | "
              + " | ".join(f"{100 * by_family[way, f] / asked[f]:.1f}" for f in families) + " |" for way, n in kept_frames.items()]
    print(f"{total} questions about {clips} clips: {dict(asked)}\n" + "\n".join(lines))
    if args.out:
        table = {way: {"exact_match": right[way] / total, "frames_kept": n / clips / CLIP_FRAMES} for way, n in kept_frames.items()}
        args.out.write_text(json.dumps({"questions": total, "clips": clips, "ways": table}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())

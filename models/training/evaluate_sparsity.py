"""What dropping and pruning cost the cloud model: accuracy, and the share of tokens that is left.

    python evaluate_sparsity.py --weights OUT --out OUT

Every question of held-out scenes is asked alone, with its own kept set: everything; the ground truth of what it needs;
and what the MAS probe keeps at several thresholds. Writes OUT/sparsity.json and OUT/sparsity.md.
"""
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from capture import log_mel, resize
from data import make_batch
from evaluate import Scores
from mas_probe import MasProbe, early_features, question_tokens
from packing import MAX_QUESTIONS, exact_match
from sparsity import Kept, at_least_one, for_question, only_question, redundant_frames, silent_windows

TAUS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
DROPS = (0.02, 0.05, 0.1)


def cells_of(keep, fine: int, coarse: int):
    """A kept patch grid of the edge [.., fine * fine] on the cloud's token grid [.., coarse * coarse]: a cell is kept
    where it overlaps a kept patch."""
    low = torch.arange(coarse) / coarse
    first, last = (low * fine + 1e-6).floor().long(), ((low + 1 / coarse) * fine - 1e-6).floor().long()
    grid = keep.view(-1, fine, fine)
    rows = torch.stack([grid[:, a:b + 1].any(1) for a, b in zip(first.tolist(), last.tolist())], 1)
    both = torch.stack([rows[:, :, a:b + 1].any(2) for a, b in zip(first.tolist(), last.tolist())], 2)
    return both.view(*keep.shape[:-1], coarse * coarse)


def smallest_mass(p, tau: float):
    """The smallest set of patches whose probabilities sum to tau of the whole; p: [b, n]."""
    value, order = p.sort(1, descending=True)
    before = value.cumsum(1) - value
    keep = before < tau * value.sum(1, keepdim=True)
    return torch.zeros_like(keep).scatter_(1, order, keep)


class Tally:
    def __init__(self):
        self.scores, self.tokens, self.whole = Scores(), {"image": 0, "audio": 0}, {"image": 0, "audio": 0}
        self.dropped_needed = {"image": 0, "audio": 0}

    def add(self, student, batch, image, sound_of, kept, full, chosen, needs):
        patches, sound = image(kept), sound_of(kept)
        logits = student.answer_logits(batch, patches, sound, kept)
        self.scores.add(exact_match(logits, batch).cpu(), batch["families"].cpu())
        present = batch["present"].bool()
        for i, (name, k, f) in enumerate((("image", kept.image.flatten(1), full.image.flatten(1)), ("audio", kept.audio, full.audio))):
            here = chosen & present[:, i]
            self.tokens[name] += int(k[here].sum())
            self.whole[name] += int(f[here].sum())
            self.dropped_needed[name] += int((~k.any(1) & needs[:, i].bool() & here).sum())

    def row(self):
        return {"accuracy": self.scores.mean(), "families": self.scores.table(), "questions": sum(self.scores.asked.values()),
                "tokens_kept": {n: self.tokens[n] / max(1, self.whole[n]) for n in self.tokens},
                "needed_but_dropped": self.dropped_needed}


@torch.no_grad()
def main(args):
    from export import read_state
    from train import Student, capture
    device = torch.device(args.device)
    torch.manual_seed(0)
    cloud, edge = (Student(n, device, False) for n in ("cloud", "edge"))
    for s in (cloud, edge):
        s.model.load_state_dict({k: v.float() for k, v in read_state(str(args.weights / f"{s.name}*.safetensors")).items()})
        s.model.eval()
    c = edge.config
    probe = MasProbe(c.hidden, c.vision_hidden, c.audio_hidden).to(device).eval()
    state = load_file(args.weights / "mas_probe.safetensors")
    probe.load_state_dict({k: v.float() for k, v in state.items() if k != "frame_mean"})
    ways = ["everything", "ground truth"] + [f"MAS tau {t} drop {d}" for t, d in [(t, 0.05) for t in TAUS] + [(0.99, d) for d in DROPS if d != 0.05]]
    tallies = {w: Tally() for w in ways}
    for clip, count, size in ((False, args.scenes, args.chunk), (True, args.clips, max(1, args.chunk // 4))):
        for at in range(0, count, size):
            raw, _ = make_batch("test", range(3_000_000 + at, 3_000_000 + min(at + size, count)), clip, device)
            batch = capture(raw)
            one_batch(batch, cloud, edge, probe, tallies, args)
        print(f"{'clips' if clip else 'stills'} done", flush=True)
    rows = {w: t.row() for w, t in tallies.items()}
    for r in rows.values():
        r["points_lost"] = 100 * (rows["everything"]["accuracy"] - r["accuracy"])
    lines = ["| kept | questions | exact match | points lost | image tokens kept | audio tokens kept |", "|---|---:|---:|---:|---:|---:|"]
    lines += [f"| {w} | {r['questions']:,} | {100 * r['accuracy']:.2f} | {r['points_lost']:.2f} | "
              f"{100 * r['tokens_kept']['image']:.1f} % | {100 * r['tokens_kept']['audio']:.1f} % |" for w, r in rows.items()]
    print("\n".join(lines))
    lost = {w: sorted(((rows["everything"]["families"][f] - v, f) for f, v in r["families"].items()), reverse=True)[:8] for w, r in rows.items()}
    print(json.dumps({w: [(f, round(100 * d, 2)) for d, f in l] for w, l in lost.items()}, indent=0), {w: r["needed_but_dropped"] for w, r in rows.items()})
    (args.out / "sparsity.md").write_text("\n".join(lines) + "\n")
    (args.out / "sparsity.json").write_text(json.dumps(rows, indent=1) + "\n")


def one_batch(batch, cloud, edge, probe, tallies, args):
    device = batch["images"].device
    cuda = device.type == "cuda"
    b, frames = batch["images"].shape[:2]
    full = Kept.of(batch, cloud.config)
    side = int(cloud.config.image_tokens ** 0.5)
    vision, audio = early_features(edge.model, resize(batch["pixels"], edge.config.image_size), log_mel(batch["wave"]), args.vision_layers)
    vision = vision.reshape(b, -1, vision.shape[-1])
    everyone = torch.arange(b, device=device)
    still = redundant_frames(batch["label_map"], frames)
    loud = at_least_one(~silent_windows(batch["sounds"], cloud.config.audio_tokens))
    pixels = resize(batch["pixels"], cloud.config.image_size)

    def encode_image(kept):
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
            return cloud.model.encode_image(pixels, kept.image.flatten(0, 1))[0]

    def encode_audio(kept):
        waves = batch["wave"] * kept.audio.repeat_interleave(batch["wave"].shape[1] // kept.audio.shape[1], 1)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
            return cloud.model.encode_audio(log_mel(waves), kept.audio)[0]

    for k in range(MAX_QUESTIONS):
        asked = batch["families"][:, k] != 255
        if not asked.any():
            continue
        one = only_question(batch, k)
        ids, length = question_tokens(batch, everyone, torch.full_like(everyone, k))
        question = edge.model.text_model.embed_tokens.weight[ids]
        r, patches = (x.sigmoid() for x in probe(question, length, vision, audio, batch["present"].float()))
        needs = batch["needs"][:, k]
        for way, tally in tallies.items():
            if way == "everything":
                kept = full
            elif way == "ground truth":
                kept = for_question(batch, cloud.config, k)
                kept = Kept(kept.image & needs[:, 0].bool()[:, None, None], kept.audio & needs[:, 1].bool()[:, None])
            else:
                tau, drop = float(way.split()[2]), float(way.split()[4])
                cells = cells_of(smallest_mass(patches, tau).view(b, frames, -1), edge.config.patches_per_side, side)
                kept = Kept(cells & ~still[..., None] & (r[:, 0] >= drop)[:, None, None], loud & (r[:, 1] >= drop)[:, None])
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=cuda):
                tally.add(cloud, one, encode_image, encode_audio, kept, full, asked, needs)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vision-layers", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=1024)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=256)
    parser.add_argument("--device", default="cuda")
    main(parser.parse_args())

"""Trains the edge and the cloud model at once, from the same batches, on one GPU, within a wall-clock budget.

    python train.py --out OUT --minutes 14            # one H200, 16 cores
    python train.py --out OUT --minutes 1 --batch 8 --clips 4 --workers 1 --device cpu --steps 3   # dry run

Warm-up, constant rate, then a linear decay over the last 45 % of the budget. Every minute a quick exact-match
table on test scenes; every two minutes the weights (f16) and the full state for --resume.
"""
import argparse
import json
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import sparsity
import vocabulary as V
from capture import log_mel, photograph, record, resize
from config import PRESETS
from data import Loader, make_batch
from evaluate import Scores, score_batch
from export import read_state, save_state
from model import AuxiliaryHeads, PocketModel, count_parameters
from optim import Optimiser
from packing import Layout, assemble, targets

AUXILIARY_WEIGHT = 0.3
AUXILIARY_IMAGES = 160  # the glyph head is wide; a part of the batch is enough
RATES = {"cloud": (0.010, 1.5e-3), "edge": (0.012, 3e-3)}  # Muon, AdamW


class Student:
    """One model with its training-only heads, optimiser and layouts."""

    def __init__(self, name: str, device, compiled: bool):
        self.name, self.config = name, PRESETS[name]
        self.model = PocketModel(self.config).to(device)
        self.heads = AuxiliaryHeads(self.config, len(V.THING_LABELS), len(V.GLYPHS) + 1, len(V.SOUND_LABELS)).to(device)
        self.optimiser = Optimiser(self.model, self.heads, *RATES[name], fused=device.type == "cuda")
        self.layouts = {f: Layout.build(self.config, f, device) for f in (1, 4)}
        self.glyph_weights = torch.ones(len(V.GLYPHS) + 1, device=device)
        self.glyph_weights[0] = 0.05
        self.thing_weights = torch.ones(len(V.THING_LABELS), device=device)
        self.thing_weights[0] = 0.2
        if compiled:
            torch._dynamo.config.recompile_limit = 64  # both models and three towers share the layers' code
            torch._dynamo.config.suppress_errors = True  # what cannot be compiled runs eagerly
            self.model.compile_layers()

    def encode(self, batches, kept=None):
        """Encodes all images and sounds of the batches in one pass each; features per batch."""
        pixels = torch.cat([resize(b["pixels"], self.config.image_size) for b in batches])
        keep_image = torch.cat([k.image.flatten(0, 1) for k in kept]) if kept else None
        keep_audio = torch.cat([k.audio for k in kept]) if kept else None
        waves = torch.cat([b["wave"] for b in batches])
        if kept:  # a window that is not kept is not sent: it arrives as silence
            waves = waves * keep_audio.repeat_interleave(waves.shape[1] // keep_audio.shape[1], 1)
        tokens, patches = self.model.encode_image(pixels, keep_image)
        audio, frames = self.model.encode_audio(log_mel(waves), keep_audio)
        images = tokens.split([len(b["pixels"]) for b in batches])
        sounds = audio.split([len(b["wave"]) for b in batches])
        return images, sounds, patches, frames

    def answer_logits(self, batch, image, sound, kept=None):
        """Logits over the segment block [b, width, vocab]."""
        n_frames = batch["images"].shape[1]
        layout = self.layouts[n_frames]
        ids, positions, mask, p = assemble(layout, batch, kept)
        image = image.reshape(len(ids), n_frames * image.shape[1], -1)
        h = self.model.hidden_states(ids, positions, mask, [(layout.image, image), (layout.audio, sound)])
        return self.model.logits(h[:, p:p + batch["tokens"].shape[1]])

    def loss(self, batches):
        kept = None
        if self.config.sparse:
            kept, answerable = zip(*(sparsity.sample(b, self.config) for b in batches))
            batches = [sparsity.mute(b, a) for b, a in zip(batches, answerable)]
        images, sounds, patches, frames = self.encode(batches, kept)
        total = weight = 0
        for batch, image, sound, k in zip(batches, images, sounds, kept or [None] * len(batches)):
            logits = self.answer_logits(batch, image, sound, k)
            want, w = targets(batch)
            total = total + (F.cross_entropy(logits.float().flatten(0, 1), want.flatten(), reduction="none") * w.flatten()).sum()
            weight = weight + w.sum()
        auxiliary = self.auxiliary(batches, patches, frames, kept)
        return total / weight, auxiliary

    def auxiliary(self, batches, patches, frames, kept=None):
        side, cells = self.config.patches_per_side, self.heads.CELLS
        k = min(AUXILIARY_IMAGES, len(patches))
        labels = torch.cat([b["label_map"] for b in batches])[:k].float()

        def cell_labels(channel, n):  # [k, patches, n * n], row-major
            x = F.interpolate(labels[:, channel:channel + 1], size=(side * n, side * n), mode="nearest-exact")
            return x.view(k, side, n, side, n).permute(0, 1, 3, 2, 4).reshape(k, side * side, n * n).long()

        unseen = unheard = None  # nothing is read out where nothing was looked at
        if kept:
            unseen = ~self.model.patches_of(torch.cat([x.image.flatten(0, 1) for x in kept])[:k])[..., None]
            unheard = ~torch.cat([x.audio for x in kept]).repeat_interleave(self.config.stack_factor, 1)

        def cross(logits, want, weights):
            if unseen is not None:
                want = want.masked_fill(unseen, -100)
            return F.cross_entropy(logits.float().reshape(-1, len(weights)), want.flatten(), weight=weights)

        things = cross(self.heads.thing_head(patches[:k]), cell_labels(0, 2), self.thing_weights)
        glyphs = cross(self.heads.glyph_head(patches[:k]), cell_labels(1, cells), self.glyph_weights)
        sounds = torch.cat([b["sounds"] for b in batches]).long()
        if unheard is not None:
            sounds = sounds.masked_fill(unheard, -100)
        sound = F.cross_entropy(self.heads.sound_head(frames).float().flatten(0, 1), sounds.flatten())
        return things + glyphs + sound


@torch.no_grad()
def capture(batch, share=None, room=None):
    """Adds pixels, label_map and wave: what camera and microphone make of the batch."""
    kwargs = {} if share is None else {"share": share}
    batch["pixels"], batch["label_map"] = photograph(batch["images"], batch["labels"], **kwargs)
    batch["wave"] = record(batch["samples"], **({} if room is None else {"share": room}))
    return batch


def rate_at(step: int, progress: float, warmup: int = 120) -> float:
    return min(1.0, (step + 1) / warmup) * min(1.0, max(0.01, (1 - progress) / 0.45))


class Run:
    def __init__(self, args):
        self.args, self.out = args, args.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(args.device)
        first = args.seed * 100_000_000
        self.loaders = [Loader("train", args.batch, False, args.workers, first)]
        if args.clips:
            self.loaders.append(Loader("train", args.clips, True, max(1, args.workers // 4), first, chunk=min(8, args.clips)))
        torch.manual_seed(args.seed)
        torch.set_float32_matmul_precision("high")
        for loader in self.loaders:
            loader.start(self.device)
        self.students = [Student(name, self.device, args.compile) for name in args.models.split(",")]
        self.step, self.spent = 0, 0.0
        if args.resume:
            self.resume(args.resume)
        self.log_file = open(self.out / "train.log", "a", buffering=1)
        for s in self.students:
            self.log(f"{s.name}: {count_parameters(s.model):,} parameters, {s.config.image_tokens} image and "
                     f"{s.config.audio_tokens} audio tokens")

    def log(self, line: str):
        print(line, flush=True)
        self.log_file.write(line + "\n")

    def resume(self, folder: Path):
        """From the full state if it is there, else from the weights alone."""
        full = folder / "resume.pt"
        state = torch.load(full, map_location=self.device) if full.exists() else None
        for s in self.students:
            if state:
                s.model.load_state_dict(state[s.name]["model"])
                s.heads.load_state_dict(state[s.name]["heads"])
                s.optimiser.load(state[s.name]["optimiser"])
            else:
                s.model.load_state_dict({k: v.float() for k, v in read_state(str(folder / f"{s.name}*.safetensors")).items()})
        if state:
            self.step, self.spent = state["step"], state["spent"]

    def save(self, full: bool = True):
        for s in self.students:
            save_state(s.model.state_dict(), self.out / f"{s.name}.safetensors")
        if full:
            torch.save({"step": self.step, "spent": self.spent} | {
                s.name: {"model": s.model.state_dict(), "heads": s.heads.state_dict(), "optimiser": s.optimiser.state()}
                for s in self.students}, self.out / "resume.tmp")
            (self.out / "resume.tmp").rename(self.out / "resume.pt")
        (self.out / "how.json").write_text(json.dumps({
            "steps": self.step, "seconds": round(self.spent), "seed": self.args.seed, "batch": self.args.batch,
            "clips": self.args.clips, "torch": torch.__version__}) + "\n")

    def autocast(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.device.type == "cuda")

    def quick_check(self, batches):
        for s in self.students:
            scores = Scores()
            with torch.no_grad(), self.autocast(), torch.compiler.set_stance("force_eager"):  # other batch sizes
                for batch in batches:
                    score_batch(s, batch, scores)
            worst = ", ".join(f"{n} {v:.2f}" for n, v in scores.worst(12))
            self.log(f"  {s.name}: exact match {scores.mean():.4f}; worst: {worst}")

    def train(self):
        budget = self.args.minutes * 60
        checks = [make_batch("test", range(9_000_000, 9_000_000 + n), clip, self.device)[0]
                  for n, clip in ((min(256, 32 * self.args.batch), False), (min(32, 4 * self.args.batch), True))]
        start = last = time.time()
        before, next_check, next_save, waited = self.spent, self.spent + 60, self.spent + 120, 0.0
        while self.spent < budget and (not self.args.steps or self.step < self.args.steps):
            t = time.time()
            batches = [capture(loader.next()) for loader in self.loaders]
            waited += time.time() - t
            scale, report = rate_at(self.step, self.spent / budget), []
            for s in self.students:
                with self.autocast():
                    loss, auxiliary = s.loss(batches)
                (loss + AUXILIARY_WEIGHT * auxiliary).backward()
                norm = s.optimiser.step(scale)
                report.append((s.name, loss, auxiliary, norm))
            self.step += 1
            now = time.time()
            self.spent = before + now - start
            if self.step % 20 == 0 or self.step <= 3:
                text = "  ".join(f"{n} {l.item():.3f} aux {a.item():.2f} |g| {g:.2f}" for n, l, a, g in report)
                self.log(f"{self.spent:6.0f} s step {self.step:5d} lr {scale:.2f}  {text}  wait {waited:.1f} s")
                if any(not torch.isfinite(l) for _, l, _, _ in report):
                    raise SystemExit("the loss is not finite; resume from the last checkpoint with lower RATES")
            if self.spent > next_check:
                next_check = self.spent + 60
                self.quick_check([capture(dict(b)) for b in checks])
            if self.spent > next_save:
                next_save = self.spent + 120
                self.save()
        self.save(full=not self.args.steps)
        self.quick_check([capture(dict(b)) for b in checks])
        for loader in self.loaders:
            loader.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=14)
    parser.add_argument("--steps", type=int, default=0, help="stop after so many steps (dry runs)")
    parser.add_argument("--batch", type=int, default=384, help="still scenes a step")
    parser.add_argument("--clips", type=int, default=32, help="clips a step, four images each")
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--models", default="cloud,edge")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--resume", type=Path)
    Run(parser.parse_args()).train()
    sys.stdout.flush()

"""Trains the MAS probe on the frozen edge model, and measures it on held-out scenes, voices and question families.

    python train_probe.py --edge ../weights/pocket-edge/model.safetensors --out OUT

Writes OUT/mas_probe.safetensors and OUT/mas_metrics.json: AUC of each modality's relevance over all families, on
families left out of training (eight folds), and on questions whose need depends on the content; and how well redundant
frames of clips are told by their hashes. OUT/folds holds the eight probes with the families that each has never seen, for
`cargo xtask eval`.
"""
import argparse
import json
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from capture import log_mel, resize
from data import Loader, make_batch
from mas_probe import MAX_QUESTION, WINDOW, MasProbe, early_features, question_tokens
from packing import FAMILY_NAMES
from sparsity import item_bits, needed_cells, redundant_frames

CONTENT_DEPENDENT = ("sign_else_sound", "beeps_else_count")
FOLDS = 8


def auc(score, label) -> float | None:
    """Area under the ROC curve; ties count half."""
    positive, negative = int(label.sum()), int((~label).sum())
    if not positive or not negative:
        return None
    _, inverse, counts = score.double().unique(return_inverse=True, return_counts=True)
    last = counts.cumsum(0).double()
    rank = (last - (counts.double() - 1) / 2)[inverse]
    return float((rank[label].sum() - positive * (positive + 1) / 2) / (positive * negative))


class Examples:
    """Scene features once, questions with an index into them."""

    def __init__(self):
        self.parts = []

    def add(self, edge, raw, args):
        from train import capture
        batch = capture(raw)
        frames = batch["images"].shape[1]
        pixels = resize(batch["pixels"], edge.config.image_size)
        with torch.no_grad():
            vision, audio = early_features(edge, pixels, log_mel(batch["wave"]), args.vision_layers)
        b = len(batch["tokens"])
        bits = item_bits(batch["label_map"], edge.config.patches_per_side, frames)
        scene, slot = (batch["families"] != 255).nonzero().unbind(1)
        question, length = question_tokens(batch, scene, slot)
        self.parts.append({
            "vision": vision.reshape(b, -1, vision.shape[-1]).half(), "audio": audio.half(), "present": batch["present"].float(),
            "bits": bits.reshape(b, -1), "redundant": redundant_frames(batch["label_map"], frames),
            "question": question, "length": length, "scene": scene,
            "looks": batch["looks"][scene, slot], "needs": batch["needs"][scene, slot].bool(),
            "family": batch["families"][scene, slot].long()})

    def join(self):
        at, out = 0, {k: [] for k in self.parts[0]}
        for part in self.parts:
            for k, v in part.items():
                out[k].append(v + at if k == "scene" else v)
            at += len(part["vision"])
        return {k: torch.cat(v) for k, v in out.items()}


def inputs(edge, data, index):
    scene = data["scene"][index]
    question = edge.text_model.embed_tokens.weight.detach()[data["question"][index]]
    return (question, data["length"][index], data["vision"][scene].float(), data["audio"][scene].float(),
            data["present"][scene])


def targets(data, index):
    scene = data["scene"][index]
    patches = needed_cells(data["bits"][scene][:, None], data["looks"][index][:, None])[:, 0, 0]
    return data["needs"][index].float(), patches.float(), data["present"][scene]


def train(edge, sets, args, left_out=None, steps=None):
    device = next(edge.parameters()).device
    torch.manual_seed(args.seed)
    c = edge.config
    probe = MasProbe(c.hidden, c.vision_hidden, c.audio_hidden).to(device)
    steps = steps or args.steps
    optimiser = torch.optim.AdamW(probe.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, steps, pct_start=0.1)
    pools = [torch.arange(len(d["scene"]), device=device) for d in sets]
    if left_out is not None:
        pools = [p[~torch.isin(d["family"], left_out)] for p, d in zip(pools, sets)]
    for step in range(steps):
        total = 0
        for data, pool, size in zip(sets, pools, (args.batch, args.batch // 8)):
            index = pool[torch.randint(len(pool), (size,), device=device)]
            relevance, patches = probe(*inputs(edge, data, index))
            needs, cells, present = targets(data, index)
            modal = (F.binary_cross_entropy_with_logits(relevance, needs, reduction="none") * present).sum() / present.sum()
            looking = needs[:, :1] * present[:, :1]  # where the picture does not matter no patch does; r says so
            spatial = (F.binary_cross_entropy_with_logits(patches, cells, reduction="none") * looking).mean()
            total = total + (modal + spatial) * (size / args.batch)
        optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return probe.eval()


@torch.no_grad()
def predict(edge, probe, data, chunk=8192):
    out = []
    for at in range(0, len(data["scene"]), chunk):
        index = torch.arange(at, min(at + chunk, len(data["scene"])), device=data["scene"].device)
        relevance, patches = probe(*inputs(edge, data, index))
        out.append((relevance.sigmoid(), patches.sigmoid()))
    return torch.cat([o[0] for o in out]), torch.cat([o[1] for o in out])


def modal_table(relevance, data, chosen):
    """AUC per modality over the chosen questions about scenes that hold both."""
    both = chosen & data["present"][data["scene"]].all(1)
    return {m: auc(relevance[both, i], data["needs"][both, i]) for i, m in enumerate(("vision", "audio"))} | {"questions": int(both.sum())}


def in_families(data, names):
    wanted = torch.tensor([FAMILY_NAMES.index(n) for n in names], device=data["family"].device)
    return torch.isin(data["family"], wanted)


def cells(vision, frames: int):
    """Early features [b, frames * patches, d] averaged over cells of 2 x 2 patches [b, frames, cells, d]."""
    b, n, d = vision.shape
    side = int((n // frames) ** 0.5)
    return vision.reshape(b, frames, side // 2, 2, side // 2, 2, d).mean((3, 5)).view(b, frames, -1, d)


def frame_hashes(data, frames: int = 4, bits: int = 64, seed: int = 1):
    """How well hashes of early features tell redundant frames: AUC and the distances of both kinds."""
    x = cells(data["vision"].float(), frames)
    b = len(x)
    x = x - x.mean((0, 1), keepdim=True)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    label = ~data["redundant"][:, 1:]
    ways = {}
    for name, y in (("mean", x.mean(2, keepdim=True)), ("concatenated", x.reshape(b, frames, 1, -1)), ("cells", x)):
        planes = torch.randn(y.shape[-1], bits, generator=generator).to(y.device)
        code = y @ planes > 0                                                                    # [b, frames, cells, bits]
        distance = (code[:, 1:] != code[:, :-1]).sum(-1).amax(-1)
        ways[name] = {"auc": auc(distance.flatten(), label.flatten()),
                      "share_skipped_at_recall": {str(r): skipped_at(distance, label, r) for r in (0.95, 0.99, 0.999)}}
    return ways


def skipped_at(distance, changed, recall: float):
    threshold = torch.quantile(distance[changed].float(), 1 - recall)
    return {"max_hamming": int(threshold) - 1, "redundant_skipped": float((distance[~changed] < threshold).float().mean())}


def collect(edge, args, device, loaders):
    sets = []
    for loader, batches in zip(loaders, (args.batches, args.batches)):
        examples = Examples()
        for _ in range(batches):
            examples.add(edge, loader.next(), args)
        sets.append(examples.join())
        loader.close()
    return sets


def collect_test(edge, args, device):
    sets = []
    for clip, count, size in ((False, args.test_scenes, 128), (True, args.test_clips, 32)):
        examples = Examples()
        for at in range(0, count, size):
            raw, _ = make_batch("test", range(2_000_000 + at, 2_000_000 + min(at + size, count)), clip, device)
            examples.add(edge, raw, args)
        sets.append(examples.join())
    return sets


def save_probe(state, path: Path) -> None:
    save_file({k: v.half().contiguous().cpu() for k, v in state.items()}, path)


def main(args):
    from export import read_state
    from train import Student
    loaders = [Loader("train", size, clip, workers, 900_000_000, chunk=min(32, size))
               for size, clip, workers in ((args.scenes, False, args.workers), (args.clips, True, max(1, args.workers // 4)))]
    device = torch.device(args.device)
    for loader in loaders:
        loader.start(device)
    edge = Student("edge", device, False).model
    # A shipped checkpoint's names begin with "model.", those of train.py do not.
    edge.load_state_dict({k.removeprefix("model."): v.float() for k, v in read_state(str(args.edge)).items()})
    edge.eval()
    started = time.time()
    sets = collect(edge, args, device, loaders)
    tests = collect_test(edge, args, device)
    print(f"{sum(len(s['scene']) for s in sets):,} questions to learn from, {sum(len(s['scene']) for s in tests):,} to test "
          f"({time.time() - started:.0f} s)", flush=True)
    probe = train(edge, sets, args)
    results = {"vision_layers": args.vision_layers, "parameters": sum(p.numel() for p in probe.parameters())}
    stills = tests[0]
    relevance, patches = predict(edge, probe, stills)
    everything = torch.ones_like(stills["scene"], dtype=torch.bool)
    results["all_families"] = modal_table(relevance, stills, everything)
    content = in_families(stills, CONTENT_DEPENDENT)
    results["content_dependent"] = modal_table(relevance, stills, content)
    results["wording_only"] = modal_table(relevance, stills, ~content)
    clips_relevance, _ = predict(edge, probe, tests[1])
    results["clips"] = modal_table(clips_relevance, tests[1], torch.ones_like(tests[1]["scene"], dtype=torch.bool))
    _, wanted, present = targets(stills, torch.arange(len(stills["scene"]), device=device))
    looking = (stills["needs"][:, 0] & (present[:, 0] > 0))
    results["patches"] = {"auc": auc(patches[looking].flatten(), wanted[looking].bool().flatten()),
                          "share_that_decides": float(wanted[looking].mean())}
    results["frames"] = frame_hashes(tests[1])
    print(json.dumps(results, indent=1), flush=True)
    names = [n for n in FAMILY_NAMES if n != "absent"]
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(args.seed)).tolist()
    frame_mean = {"frame_mean": cells(sets[1]["vision"].float(), 4).mean((0, 1))}
    folds, pooled, left_out = {}, torch.zeros_like(relevance), []
    (args.out / "folds").mkdir(parents=True, exist_ok=True)
    for fold in range(FOLDS):
        mine = [names[i] for i in order[fold::FOLDS]]
        ids = torch.tensor([FAMILY_NAMES.index(n) for n in mine], device=device)
        other = train(edge, sets, args, ids, args.steps // 2)
        save_probe(other.state_dict() | frame_mean, args.out / "folds" / f"fold_{fold}.safetensors")
        left_out.append(sorted(mine))
        guess, _ = predict(edge, other, stills)
        chosen = in_families(stills, mine)
        pooled[chosen] = guess[chosen]
        for n in mine:
            one = in_families(stills, [n])
            if one.any():
                needs = stills["needs"][one].float().mean(0).tolist()
                folds[n] = {"needs": needs, "mean_r": guess[one].mean(0).tolist(), "questions": int(one.sum())}
    known = in_families(stills, names)
    results["left_out_families"] = modal_table(pooled, stills, known) | {"families": folds}
    print("left out:", {k: v for k, v in results["left_out_families"].items() if k != "families"}, flush=True)
    for n, v in sorted(folds.items()):
        print(f"  {n:20} needs {v['needs'][0]:.2f} {v['needs'][1]:.2f}  mean r {v['mean_r'][0]:.3f} {v['mean_r'][1]:.3f}")
    save_probe(probe.state_dict() | frame_mean, args.out / "mas_probe.safetensors")
    config = json.dumps({
        "vision_layers": args.vision_layers, "audio_layers": 1, "window_frames": WINDOW,
        "max_question_tokens": MAX_QUESTION, "width": probe.text.out_features, "modal_hidden": probe.modal_1.out_features}) + "\n"
    for folder in (args.out, args.out / "folds"):
        (folder / "mas_probe.json").write_text(config)
    (args.out / "folds" / "families.json").write_text(json.dumps(left_out, indent=1) + "\n")
    (args.out / "mas_metrics.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--edge", type=Path, required=True, help="the edge's weights, as shipped or by train.py")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--vision-layers", type=int, default=1)
    parser.add_argument("--scenes", type=int, default=384)
    parser.add_argument("--clips", type=int, default=32)
    parser.add_argument("--batches", type=int, default=150)
    parser.add_argument("--batch", type=int, default=2048)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--test-scenes", type=int, default=2000)
    parser.add_argument("--test-clips", type=int, default=200)
    parser.add_argument("--workers", type=int, default=13)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    main(parser.parse_args())

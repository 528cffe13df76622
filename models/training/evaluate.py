"""Exact match per question family on held-out seeds and voices, clean and through camera and microphone.

    python evaluate.py --weights OUT --out OUT --scenes 2000 --clips 250

Greedy decoding writes the reference exactly when every answer token, and the end, is the argmax given the ones before;
so one teacher-forced pass scores all questions of a scene. Writes metrics.json and metrics.md.
"""
import argparse
import json
from collections import defaultdict
from pathlib import Path

import torch

from packing import FAMILY_NAMES, exact_match


class Scores:
    """Right and asked, per family."""

    def __init__(self):
        self.right, self.asked = defaultdict(int), defaultdict(int)

    def add(self, ok, families):
        for index in families.unique().tolist():
            if index < len(FAMILY_NAMES):
                chosen = families == index
                self.asked[FAMILY_NAMES[index]] += int(chosen.sum())
                self.right[FAMILY_NAMES[index]] += int(ok[chosen].sum())

    def table(self):
        return {n: self.right[n] / self.asked[n] for n in sorted(self.asked)}

    def mean(self) -> float:
        return sum(self.right.values()) / max(1, sum(self.asked.values()))

    def family_mean(self) -> float:
        table = self.table()
        return sum(table.values()) / max(1, len(table))

    def worst(self, n: int):
        return sorted(self.table().items(), key=lambda kv: kv[1])[:n]


def score_batch(student, batch, scores: Scores, kept=None):
    (image,), (sound,), _, _ = student.encode([batch], kept and [kept])
    logits = student.answer_logits(batch, image, sound, kept)
    scores.add(exact_match(logits, batch).cpu(), batch["families"].cpu())


def evaluate(students, device, scenes: int, clips: int, first: int, chunk: int = 128):
    """{condition: {model: Scores}}"""
    from data import make_batch
    from train import capture
    results = {c: {s.name: Scores() for s in students} for c in ("clean", "camera")}
    for count, clip, size in ((scenes, False, chunk), (clips, True, max(1, chunk // 4))):
        for at in range(0, count, size):
            seeds = range(first + at, first + min(at + size, count))
            raw, _ = make_batch("test", seeds, clip, device)
            for condition, share in (("clean", 0.0), ("camera", 1.0)):
                batch = capture(dict(raw), share, share)
                for s in students:
                    with torch.no_grad(), torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                        score_batch(s, batch, results[condition][s.name])
    return results


def markdown(results, names) -> str:
    conditions = list(results)
    head = [f"{n} {c}" for n in names for c in conditions]
    lines = ["| family | questions | " + " | ".join(head) + " |", "|---" * (len(head) + 2) + "|"]
    first = results[conditions[0]][names[0]]
    row = lambda name, n, f: lines.append(f"| {name} | {n} | " + " | ".join(
        f"{100 * f(results[c][m]):.1f}" for m in names for c in conditions) + " |")
    for name in sorted(first.asked):
        row(name, first.asked[name], lambda s: s.table().get(name, 0.0))
    row("**all questions**", sum(first.asked.values()), Scores.mean)
    row("**mean of families**", len(first.asked), Scores.family_mean)
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    from export import read_state
    from train import Student
    parser = argparse.ArgumentParser()
    parser.add_argument("--weights", type=Path, required=True, help="folder with edge.safetensors, cloud-*.safetensors")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--scenes", type=int, default=2000)
    parser.add_argument("--clips", type=int, default=250)
    parser.add_argument("--first", type=int, default=1_000_000)
    parser.add_argument("--models", default="cloud,edge")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    students = [Student(n, device, False) for n in args.models.split(",")]
    for s in students:
        s.model.load_state_dict({k: v.float() for k, v in read_state(str(args.weights / f"{s.name}*.safetensors")).items()})
    results = evaluate(students, device, args.scenes, args.clips, args.first)
    names = [s.name for s in students]
    table = markdown(results, names)
    how = args.weights / "how.json"
    (args.out / "metrics.md").write_text(table)
    (args.out / "metrics.json").write_text(json.dumps({
        "how": json.loads(how.read_text()) if how.exists() else {},
        "results": {c: {n: {"all": r.mean(), "family_mean": r.family_mean(), "families": r.table(), "asked": dict(r.asked)}
                        for n, r in models.items()} for c, models in results.items()}}, indent=1) + "\n")
    print(table)

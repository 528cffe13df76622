"""Trains a MAS probe for a pair of published checkpoints, from the target's own counterfactuals on unlabelled pictures.

    python published_probe.py --target SmolVLM2-2.2B-Instruct --edge SmolVLM-256M-Instruct --images PICTURES --out OUT

OUT/labels.jsonl grows while the target is asked (`counterfactuals.py`); a run that was cut goes on there. Then the
probe is trained on what the edge's first layers make of the whole pictures, and OUT gets mas_probe.json and
mas_probe.safetensors, to be put beside the edge's checkpoint, and report.json: AUC of the relevance on held-out pictures,
and for several kept shares of tiles how often the target still says the same, by probe, without one, and at random.
--estimate counts what it will take and stops. --questions names a file of one question a line, else QUESTIONS are asked.
"""
import argparse
import hashlib
import json
import random
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import saliency
from counterfactuals import Target, change, collect
from mas_probe import MAX_QUESTION, MasProbe
from train_probe import auc

SHARES = (0.25, 0.5, 0.75)
AGREES = 0.5  # a change below it: the likelier half says the same
MATCHED = 0.95
QUESTIONS = (
    "What is in this picture?", "Describe the picture in one sentence.", "What text can be read?", "What is written on the sign?",
    "How many people are there?", "What colour is the largest thing?", "Is this indoors or outdoors?", "What is in the upper left corner?",
    "What is at the bottom?", "What is the person doing?", "Is there an animal?", "What time of day is it?", "Which numbers can be seen?",
    "What is in the background?", "What is the main object made of?", "Is anything broken?", "What brand can be seen?",
    "What is the capital of France?", "What is seven times eight?", "Name a primary colour.", "What is the opposite of cold?",
    "How many days has a week?", "Write a greeting.", "Which language is spoken in Brazil?",
)


def questions_of(asked, each: int, seed: int):
    """Chooses a picture's questions by its name, so that a cut run asks the same again."""
    def choose(file: Path):
        number = int.from_bytes(hashlib.sha256(f"{seed} {file.name}".encode()).digest()[:8])
        return random.Random(number).sample(list(asked), min(each, len(asked)))
    return choose


def is_held_out(name: str) -> bool:
    """A fifth of the pictures, by name."""
    return hashlib.sha256(name.encode()).digest()[0] % 5 == 0


class Edge:
    """The first layers of the edge's tower, and its embeddings."""

    def __init__(self, folder: Path, device, layers: int):
        processor = AutoProcessor.from_pretrained(folder)
        model = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()
        self.images, self.tokenizer, self.layers, self.device = processor.image_processor, processor.tokenizer, layers, device
        self.tower = model.model.vision_model.to(device)
        self.embeddings = model.get_input_embeddings().weight.detach().to(device)
        side = model.config.vision_config.image_size // model.config.vision_config.patch_size
        if side % 2:
            raise SystemExit(f"the edge has {side} patches a side; a probe needs an even number: choose a smaller edge")
        if not 0 < layers <= len(self.tower.encoder.layers):
            raise SystemExit(f"--vision-layers is {layers}; the edge has {len(self.tower.encoder.layers)}")

    @torch.no_grad()
    def look(self, image):
        """Patch vectors [patches, d] of a whole picture after the first layers."""
        pixels = self.images([[image]], return_tensors="pt", do_image_splitting=False)["pixel_values"][0].to(self.device)
        found = self.tower(pixels, output_hidden_states=True).hidden_states
        return found[self.layers][0]

    def read(self, question: str):
        """Embeddings [MAX_QUESTION, text] of a question, and how many are real."""
        ids = self.tokenizer(question, add_special_tokens=False)["input_ids"][:MAX_QUESTION]
        padded = torch.tensor(ids + [0] * (MAX_QUESTION - len(ids)), device=self.device)
        return self.embeddings[padded], len(ids)


def on_patches(label, side: int):
    """What a label says of each patch: the change without the tiles that cover it. [side * side]"""
    if not label["tiles"]:
        return torch.full((side * side,), label["picture"])
    tiles = torch.tensor(label["tiles"]).view(1, 1, label["rows"], label["columns"])
    return F.interpolate(tiles, size=(side, side), mode="area" if max(tiles.shape) > side else "nearest").flatten()


def tile_scores(patches, rows: int, columns: int):
    """The weight of the patches that each tile covers [rows * columns], as the runtime weighs tiles."""
    side = int(len(patches) ** 0.5)
    fine = patches.view(side, side).repeat_interleave(rows, 0).repeat_interleave(columns, 1)
    return fine.view(rows, side, columns, side).sum((1, 3)).flatten()


class Examples:
    """Labels with the features they are learned from; pictures are looked at once and kept as f16 in memory."""

    def __init__(self, edge: Edge, labels, folder: Path):
        self.edge, self.labels, self.features = edge, labels, {}
        for one in labels:
            if one["file"] not in self.features:
                self.features[one["file"]] = edge.look(Image.open(folder / one["file"]).convert("RGB")).half()

    def batch(self, chosen):
        vision = torch.stack([self.features[one["file"]] for one in chosen]).float()
        read = [self.edge.read(one["question"]) for one in chosen]
        side = int(vision.shape[1] ** 0.5)
        needs = torch.tensor([one["picture"] for one in chosen], device=vision.device)
        cells = torch.stack([on_patches(one, side) for one in chosen]).to(vision.device)
        length = torch.tensor([n for _, n in read], device=vision.device)
        return (torch.stack([q for q, _ in read]), length, vision, None, torch.tensor([[1.0, 0.0]], device=vision.device).expand(len(chosen), 2)), needs, cells


def train(examples: Examples, args):
    torch.manual_seed(args.seed)
    first = next(iter(examples.features.values()))
    probe = MasProbe(examples.edge.embeddings.shape[1], first.shape[1], None).to(first.device)
    optimiser = torch.optim.AdamW(probe.parameters(), 2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, args.steps, pct_start=0.1)
    chance = random.Random(args.seed)
    for step in range(args.steps):
        inputs, needs, cells = examples.batch(chance.choices(examples.labels, k=args.batch))
        relevance, patches = probe(*inputs)
        modal = F.binary_cross_entropy_with_logits(relevance[:, 0], needs)
        # Where the picture does not matter no patch does; the relevance says so.
        spatial = (F.binary_cross_entropy_with_logits(patches, cells, reduction="none") * needs[:, None]).mean()
        optimiser.zero_grad()
        (modal + spatial).backward()
        torch.nn.utils.clip_grad_norm_(probe.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % 200 == 0:
            print(f"  step {step + 1} of {args.steps}: relevance {modal:.4f}, patches {spatial:.4f}", flush=True)
    return probe.eval()


@torch.no_grad()
def report(probe, examples: Examples, target: Target, folder: Path, most: int, seed: int):
    """How good the probe is on pictures that it has not seen."""
    relevances, chance = [], random.Random(seed)
    same = {name: dict.fromkeys(SHARES, 0) for name in ("probe", "without", "random")}
    asked = 0
    for one in examples.labels:
        inputs, _, _ = examples.batch([one])
        relevance, patches = probe(*inputs)
        relevances.append(relevance[0, 0].sigmoid())
        count = one["rows"] * one["columns"]
        if asked == most or not count or one["picture"] < AGREES:
            continue
        asked += 1
        seen = target.look(Image.open(folder / one["file"]).convert("RGB"))
        whole = target.distributions(target.prompt(one["question"], seen), one["answer"])
        stands_out = saliency.weights(examples.features[one["file"]][None].float())[0]
        ways = {"probe": tile_scores(patches[0].sigmoid(), one["rows"], one["columns"]),
                "without": tile_scores(stands_out, one["rows"], one["columns"]),
                "random": torch.tensor([chance.random() for _ in range(count)])}
        for name, scores in ways.items():
            for share in SHARES:
                best = set(scores.topk(max(1, round(share * count))).indices.tolist())
                kept = target.prompt(one["question"], seen, [tile in best for tile in range(count)])
                same[name][share] += change(whole, target.distributions(kept, one["answer"])) < AGREES
    needed = torch.tensor([one["picture"] >= AGREES for one in examples.labels])
    agreement = {name: {str(share): hits / max(1, asked) for share, hits in found.items()} for name, found in same.items()}
    enough = {name: min((share for share in SHARES if found[str(share)] >= MATCHED), default=1.0) for name, found in agreement.items()}
    return {"questions": len(examples.labels), "pictures": len(examples.features), "relevance_auc": auc(torch.stack(relevances).cpu(), needed),
            "asked_with_tiles": asked, "agreement": agreement, f"share_for_{MATCHED}": enough}


def export(probe, examples: Examples, args) -> None:
    features = torch.stack([x.float() for x in examples.features.values()])
    n, patches, d = features.shape
    side = int(patches ** 0.5)
    cells = features.view(n, side // 2, 2, side // 2, 2, d).mean((2, 4)).view(n, -1, d).mean(0)
    state = {k: v.detach().half().contiguous().cpu() for k, v in (probe.state_dict() | {"frame_mean": cells}).items()}
    save_file(state, args.out / "mas_probe.safetensors")
    (args.out / "mas_probe.json").write_text(json.dumps({
        "vision_layers": args.vision_layers, "audio_layers": 0, "window_frames": 1, "max_question_tokens": MAX_QUESTION,
        "width": probe.text.out_features, "modal_hidden": probe.modal_1.out_features}) + "\n")


def flops_of_label(config, answer_tokens: int, question_tokens: int = 40, inputs: int = 13) -> tuple[float, float]:
    """Operations of a picture in the tower, and of all passes for one question about it; a multiplication and an addition are two."""
    vision, text = config.vision_config, config.text_config
    patches = (vision.image_size // vision.patch_size) ** 2
    layer = lambda n, d, f: 8 * n * d * d + 4 * n * n * d + 4 * n * d * f
    tower = inputs * vision.num_hidden_layers * layer(patches, vision.hidden_size, vision.intermediate_size)
    tokens = patches // config.scale_factor ** 2
    head = text.hidden_size // text.num_attention_heads
    weights = text.hidden_size * (2 * text.hidden_size + 2 * head * text.num_key_value_heads + 3 * text.intermediate_size)

    def decoder(n):
        return text.num_hidden_layers * (2 * n * weights + 4 * n * n * text.hidden_size) + 2 * answer_tokens * text.hidden_size * text.vocab_size
    n = inputs * tokens + question_tokens + answer_tokens
    # Answering and its distributions, each tile left out, the picture left out.
    return tower, 2 * decoder(n) + (inputs - 1) * decoder(n - tokens) + decoder(question_tokens + answer_tokens)


def estimate(config, pictures: int, args) -> str:
    tower, question = flops_of_label(config, args.answer_tokens)
    total = pictures * (tower + args.questions_each * question)
    hours = total / (args.tflops * 1e12) / 3600
    return (f"{pictures:,} pictures with {args.questions_each} questions each: {total:.2e} operations, "
            f"{hours:.1f} hours at {args.tflops:g} Tflop/s")


def main(args):
    pictures = sorted(f for f in args.images.iterdir() if f.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp"))[:args.most]
    if not pictures:
        raise SystemExit(f"there is no picture in {args.images}: name a folder of .jpg, .png or .webp with --images")
    print(estimate(AutoConfig.from_pretrained(args.target), len(pictures), args), flush=True)
    if args.estimate:
        return
    args.out.mkdir(parents=True, exist_ok=True)
    asked = [line.strip() for line in args.questions.read_text().splitlines() if line.strip()] if args.questions else QUESTIONS
    device = torch.device(args.device)
    target = Target(args.target, device, torch.bfloat16 if device.type == "cuda" else torch.float32, args.answer_tokens)
    started = time.time()

    def progress(done):
        if done % 20 == 0 or done == len(pictures):
            print(f"  {done} of {len(pictures)} pictures ({time.time() - started:.0f} s)", flush=True)
    labels = collect(target, pictures, questions_of(asked, args.questions_each, args.seed), args.out / "labels.jsonl", progress)
    edge = Edge(args.edge, device, args.vision_layers)
    held_out = [one for one in labels if is_held_out(one["file"])]
    learned = [one for one in labels if not is_held_out(one["file"])]
    if not held_out or not learned:
        raise SystemExit(f"{len(pictures)} pictures are too few to learn from some and test on others: name more with --images")
    examples = Examples(edge, learned, args.images)
    probe = train(examples, args)
    export(probe, examples, args)
    found = report(probe, Examples(edge, held_out, args.images), target, args.images, args.report_questions, args.seed)
    (args.out / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", type=Path, required=True, help="the target's folder")
    parser.add_argument("--edge", type=Path, required=True, help="the edge's folder")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pictures")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--questions", type=Path, help="one question a line")
    parser.add_argument("--questions-each", type=int, default=4)
    parser.add_argument("--most", type=int, default=4000, help="pictures at most")
    parser.add_argument("--answer-tokens", type=int, default=24)
    parser.add_argument("--vision-layers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--report-questions", type=int, default=200)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tflops", type=float, default=200.0, help="what the device reaches, for the estimate")
    parser.add_argument("--estimate", action="store_true")
    return parser


if __name__ == "__main__":
    main(parser().parse_args())

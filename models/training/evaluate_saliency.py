"""What scores without a probe are worth: exact match of the pocket's cloud model when only the best patches are kept.

    python evaluate_saliency.py --scenes 24 --chunk 4

Questions about held-out still pictures that need the picture alone are asked one by one, with the same number of image tokens
kept for every way of choosing: the trained probe's, several without a probe, at random, and from the middle out. What is
not kept enters neither tower nor decoder. Writes a table, and JSON with --out.
"""
import argparse
import json
import time
from copy import copy
from pathlib import Path

import torch

import saliency
from capture import log_mel, resize
from config import PRESETS
from data import make_batch
from evaluate_sparsity import cells_of, smallest_mass
from export import read_state
from mas_probe import MasProbe, early_features, question_tokens
from model import PocketModel
from packing import encode, token
from published_probe import tile_scores

WEIGHTS = Path(__file__).parents[1] / "weights"
SHARES = (0.25, 0.5, 0.75)
TAUS = (0.85, 0.9, 0.95)
TILES = 3    # a side: tiles of four tokens


def load(name: str):
    model = PocketModel(PRESETS[name])
    state = read_state(str(WEIGHTS / f"pocket-{name}" / "model.safetensors"))
    model.load_state_dict({k.removeprefix("model."): v.float() for k, v in state.items()})
    return model.eval()


def load_probe(config):
    probe = MasProbe(config.hidden, config.vision_hidden, config.audio_hidden)
    state = read_state(str(WEIGHTS / "pocket-edge" / "mas_probe.safetensors"))
    probe.load_state_dict({k: v.float() for k, v in state.items() if k != "frame_mean"})
    return probe.eval()


class Questions:
    """Those of a batch of still scenes that need the picture and no sound."""

    def __init__(self, batch):
        chosen = (batch["families"] != 255) & (batch["needs"][..., 0] > 0) & (batch["needs"][..., 1] == 0)
        self.scene, self.slot = chosen.nonzero().unbind(1)
        self.ids, self.length = question_tokens(batch, self.scene, self.slot)
        self.asked, self.answers = [], []
        for scene, slot in zip(self.scene.tolist(), self.slot.tolist()):
            here = batch["segment"][scene] == slot + 1
            tokens, weight = batch["tokens"][scene][here].tolist(), batch["weight"][scene][here]
            split = int((weight == 0).sum())
            self.asked.append(tokens[:split])
            self.answers.append(tokens[split:])

    def of(self, scene: int) -> "Questions":
        """Those about one scene."""
        one = copy(self)
        chosen = (self.scene == scene).nonzero()[:, 0].tolist()
        one.scene, one.slot, one.ids, one.length = (x[chosen] for x in (self.scene, self.slot, self.ids, self.length))
        one.asked, one.answers = [self.asked[i] for i in chosen], [self.answers[i] for i in chosen]
        return one


def scores_of(edge, probe, batch, questions, layers: int):
    """Name -> score of each of the edge's patches for each question [q, patches]."""
    c = edge.config
    pixels = resize(batch["pixels"], c.image_size)
    early, audio = early_features(edge, pixels, log_mel(batch["wave"]), layers)
    asked = edge.text_model.embed_tokens.weight[questions.ids]
    each = lambda x: x[questions.scene]
    present = torch.tensor([[1.0, 0.0]]).expand(len(questions.ids), 2)
    _, trained = probe(asked, questions.length, each(early), each(audio), present)
    side = c.patches_per_side
    first = edge.connector(edge.vision_model.post_layernorm(early))
    last = edge.connector(edge.vision_model(pixels))
    like = lambda tokens: saliency.similarity(each(tokens), asked, questions.length, side)
    standard = saliency.standard
    mean, beside = saliency.from_mean(early), saliency.from_neighbours(early)
    stands_out = saliency.default(early)
    row, column = (torch.arange(side * side) // side, torch.arange(side * side) % side)
    middle = -((row - (side - 1) / 2) ** 2 + (column - (side - 1) / 2) ** 2)
    return {
        "trained probe": trained,
        "length of the vectors": each(saliency.norm(early)),
        "distance from the mean": each(mean),
        "distance from neighbours": each(beside),
        "attention received in the next layer": each(saliency.attention_received(edge.vision_model, early, layers)),
        "similarity to the question, early": like(first),
        "similarity to the question, whole tower": like(last),
        "mean + neighbours": each(stands_out),
        "mean + neighbours + early similarity": standard(each(stands_out)) + 0.5 * standard(like(first)),
        "mean + neighbours + similarity, whole tower": standard(each(stands_out)) + 0.5 * standard(like(last)),
        "at random": torch.rand(len(trained), side * side),
        "from the middle out": middle.float().expand(len(trained), -1),
    }


def on_target(scores, fine: int, coarse: int):
    """A score of each of the target's tokens: the largest of the patches that it overlaps. [q, coarse * coarse]"""
    low = scores.min()
    levels = torch.full((len(scores), coarse * coarse), float("-inf"))
    for patch in range(fine * fine):
        one = torch.zeros(1, fine * fine, dtype=torch.bool)
        one[0, patch] = True
        reach = cells_of(one, fine, coarse)
        levels = torch.where(reach, torch.maximum(levels, scores[:, patch:patch + 1]), levels)
    return levels.clamp(min=low)


def exact(cloud, pixels, questions, kept):
    """Greedy equality of each answer, looking at `kept` tokens [q, k] in rising order. bool [q]"""
    c = cloud.config
    patches_side, s = c.patches_per_side, c.scale_factor
    side = patches_side // s
    offsets = torch.tensor([r * patches_side + x for r in range(s) for x in range(s)])
    corner = kept // side * s * patches_side + kept % side * s
    patches = (corner[..., None] + offsets).flatten(1)                                        # [q, k * s * s]
    x = cloud.vision_model.embeddings(pixels)[questions.scene]
    x = x.gather(1, patches[..., None].expand(-1, -1, x.shape[-1]))
    for layer in cloud.vision_model.encoder.layers:
        x = layer(x)
    x = cloud.vision_model.post_layernorm(x)
    image = cloud.connector.modality_projection.proj(x.view(len(x), kept.shape[1], -1))
    around = token("<fake_token_around_image>")
    prefix = [token("<|im_start|>"), *encode("User:"), around, token("<global-img>")]
    place = torch.arange(len(prefix), len(prefix) + kept.shape[1])
    prefix += [token("<image>")] * kept.shape[1] + [around]
    rows = [[*prefix, *asked, *answer] for asked, answer in zip(questions.asked, questions.answers)]
    n = max(map(len, rows))
    ids = torch.tensor([row + [0] * (n - len(row)) for row in rows])
    mask = torch.full((n, n), -30000.0).triu(1)[None, None]
    hidden = cloud.hidden_states(ids, torch.arange(n).expand(len(rows), -1), mask, [(place, image)])
    said = cloud.logits(hidden).argmax(-1)
    ends = [len(prefix) + len(asked) for asked in questions.asked]
    return torch.tensor([said[i, at - 1:at - 1 + len(answer)].tolist() == answer
                         for i, (at, answer) in enumerate(zip(ends, questions.answers))])


def measure_tiles(edge, cloud, batch, questions, right, tokens):
    """As the runtime leaves tiles out: whole ones, by the weight of what stands out in them. The pocket sees no whole picture beside
    its tiles, so what is left out is lost to it."""
    early = edge.vision_model.early(resize(batch["pixels"], edge.config.image_size), 1)
    masses = torch.stack([tile_scores(one, TILES, TILES) for one in saliency.weights(early)])
    side = cloud.config.patches_per_side // cloud.config.scale_factor
    pixels = resize(batch["pixels"], cloud.config.image_size)
    for tau in TAUS:
        tiles = smallest_mass(masses, tau).view(-1, TILES, TILES)
        cells = tiles.repeat_interleave(side // TILES, 1).repeat_interleave(side // TILES, 2).flatten(1)
        for scene in questions.scene.unique().tolist():
            one = questions.of(scene)
            kept = cells[scene].nonzero()[:, 0].expand(len(one.ids), -1)
            right[tau] = right.get(tau, 0) + int(exact(cloud, pixels, one, kept).sum())
            tokens[tau] = tokens.get(tau, 0) + kept.numel()


@torch.no_grad()
def main(args):
    from train import capture
    torch.manual_seed(args.seed)
    edge, cloud = load("edge"), load("cloud")
    probe = load_probe(edge.config)
    fine, coarse = edge.config.patches_per_side, cloud.config.patches_per_side // cloud.config.scale_factor
    right, by_tiles, tokens, asked, whole, started = {}, {}, {}, 0, 0, time.time()
    for at in range(0, args.scenes, args.chunk):
        raw, _ = make_batch("test", range(4_000_000 + at, 4_000_000 + min(at + args.chunk, args.scenes)), False)
        batch = capture(raw)
        questions = Questions(batch)
        pixels = resize(batch["pixels"], cloud.config.image_size)
        everything = torch.arange(coarse * coarse).expand(len(questions.ids), -1)
        whole += int(exact(cloud, pixels, questions, everything).sum())
        asked += len(questions.ids)
        measure_tiles(edge, cloud, batch, questions, by_tiles, tokens)
        if args.tiles_only:
            continue
        for name, scores in scores_of(edge, probe, batch, questions, args.vision_layers).items():
            levels = on_target(scores, fine, coarse)
            for share in SHARES:
                best = levels.topk(round(share * coarse * coarse), 1).indices.sort(1).values
                key = (name, share)
                right[key] = right.get(key, 0) + int(exact(cloud, pixels, questions, best).sum())
        print(f"{asked} questions ({time.time() - started:.0f} s)", flush=True)
    lines = ["| patches chosen by | " + " | ".join(f"{100 * s:.0f} % kept" for s in SHARES) + " |", "|---" + "|---:" * len(SHARES) + "|"]
    names = list(dict.fromkeys(name for name, _ in right))
    lines += [f"| {name} | " + " | ".join(f"{100 * right[name, s] / asked:.1f}" for s in SHARES) + " |" for name in names]
    print(f"{asked} questions, everything kept: {100 * whole / asked:.1f}\n" + "\n".join(lines))
    print("| tiles that hold | exact match | tokens kept |\n|---|---:|---:|")
    for tau in TAUS:
        print(f"| {100 * tau:.0f} % | {100 * by_tiles[tau] / asked:.1f} | {100 * tokens[tau] / asked / coarse ** 2:.1f} % |")
    if args.out:
        table = {name: {str(s): right[name, s] / asked for s in SHARES} for name in names}
        args.out.write_text(json.dumps({"questions": asked, "everything": whole / asked, "kept": table}, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=96)
    parser.add_argument("--chunk", type=int, default=16)
    parser.add_argument("--vision-layers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tiles-only", action="store_true")
    parser.add_argument("--out", type=Path)
    main(parser.parse_args())

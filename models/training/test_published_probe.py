"""Dry run of published_probe.py on a CPU: random checkpoints of published structure, drawn pictures, a few steps.

    python test_published_probe.py
"""
import json
import sys
import tempfile
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "reference"))

import make_published_golden as golden
import published
from counterfactuals import Target, change, read_labels
from data import SIDE
from published_probe import Edge, flops_of_label, is_held_out, main, parser
from render import draw
from world import build_scene


def write_checkpoint(folder: Path) -> None:
    """A random checkpoint of SmolVLM's structure, as transformers writes it."""
    config = published.reduced("Idefics3")
    module = golden.model(config, "cpu")
    module.load_state_dict({k: torch.tensor(published.weight(k, tuple(t.shape))) for k, t in golden.state(module).items()}, strict=False)
    module.tie_weights()
    module.save_pretrained(folder)
    golden.processor(config, golden.filled(json.loads(golden.TOKENIZER.read_text()))).save_pretrained(folder)


def draw_pictures(folder: Path, count: int) -> None:
    folder.mkdir()
    seed = drawn = 0
    while drawn < count:
        scene = build_scene("test", 5_000_000 + seed, False)
        seed += 1
        if scene.has_image:
            Image.fromarray(draw(scene.frames[0], SIDE, seed)).crop((0, 0, SIDE, SIDE // 2)).save(folder / f"image_{drawn:03}.png")
            drawn += 1


def prompts_are_those_of_the_processor(target: Target, image) -> None:
    seen = target.look(image)
    messages = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "What is this?"}]}]
    text = target.processor.apply_chat_template(messages, add_generation_prompt=True)
    made = target.processor(text=[text], images=[[image]], add_special_tokens=False, return_tensors="pt")
    own = target.prompt("What is this?", seen)
    assert own.shape[1] == made["input_ids"].shape[1], (own.shape, made["input_ids"].shape)
    theirs = target.model(**{k: v for k, v in made.items() if k != "token_type_ids"}).logits[0, -1].softmax(-1)
    mine = target.distributions(own, [0])[0]
    assert change(theirs[None], mine[None]) < 1e-4


def features_are_those_after_the_first_layers(folder: Path, image) -> None:
    """What the runtime computes (`VisionTower::early`), layer by layer."""
    edge = Edge(folder, torch.device("cpu"), 1)
    pixels = edge.images([[image]], return_tensors="pt", do_image_splitting=False)["pixel_values"][0]
    side = pixels.shape[-1] // edge.tower.patch_size
    embedded = edge.tower.embeddings(pixels, torch.ones(len(pixels), side, side, dtype=torch.bool))
    found = edge.tower.encoder.layers[0](embedded, attention_mask=None)
    found = found[0] if isinstance(found, tuple) else found
    assert torch.allclose(edge.look(image), found.view(-1, found.shape[-1]), atol=1e-4)


def run(folder: Path) -> None:
    model, images, out = folder / "model", folder / "images", folder / "out"
    write_checkpoint(model)
    draw_pictures(images, 8)
    names = [file.name for file in sorted(images.iterdir())]
    assert any(map(is_held_out, names)) and not all(map(is_held_out, names))
    with torch.no_grad():
        target = Target(model, torch.device("cpu"), torch.float32, 4)
        prompts_are_those_of_the_processor(target, Image.open(images / names[0]).convert("RGB"))
        features_are_those_after_the_first_layers(model, Image.open(images / names[0]).convert("RGB"))
    given = ["--target", str(model), "--edge", str(model), "--images", str(images), "--out", str(out), "--device", "cpu",
             "--questions-each", "2", "--answer-tokens", "4", "--vision-layers", "1", "--steps", "20", "--batch", "4",
             "--report-questions", "2"]
    main(parser().parse_args(given))
    labels = read_labels(out / "labels.jsonl")
    assert len(labels) == 16 and all(len(one["tiles"]) == one["rows"] * one["columns"] > 1 for one in labels)
    assert all(0 <= value <= 1 for one in labels for value in (one["picture"], *one["tiles"]))
    assert any(one["picture"] > 0 for one in labels), "a random model without its picture says something else"

    # A run that was cut in the middle of a line goes on, and comes to the same.
    lines = (out / "labels.jsonl").read_text()
    probe = load_file(out / "mas_probe.safetensors")
    (out / "labels.jsonl").write_text(lines[: len(lines) * 2 // 3])
    main(parser().parse_args(given))
    assert (out / "labels.jsonl").read_text() == lines
    again = load_file(out / "mas_probe.safetensors")
    assert probe.keys() == again.keys() and all(torch.equal(probe[k], again[k]) for k in probe)
    assert not any(name.startswith("audio.") for name in probe) and json.loads((out / "mas_probe.json").read_text())["audio_layers"] == 0
    found = json.loads((out / "report.json").read_text())
    assert set(found["agreement"]) == {"probe", "without", "random"} and found["asked_with_tiles"] <= 2

    config = golden.model(published.CONFIGS["SmolVLM2-2.2B-Instruct"], "meta").config
    tower, question = flops_of_label(config, 24)
    assert 5e12 < tower < 2e13 and 3e13 < question < 1e14, (tower, question)


if __name__ == "__main__":
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        run(Path(place))
    print("the probe of a published pair: dry run passed")

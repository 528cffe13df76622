"""Writes evaluation sets, the page's gallery and the cards as plain files.

    python make_eval.py --to ../eval/test-v1 --scenes 200 --clips 25       # PNG, WAV, questions.jsonl
    python make_eval.py --gallery ../eval/gallery --cards ../eval/cards

Questions of one scene share its files. A line of questions.jsonl: id, family, question, answer, needs, images, audio,
split, capture. `capture` is `clean` or `camera` (tilted, noisy, in a room), alternating by scene.
"""
import argparse
import json
import wave
from pathlib import Path
from random import Random

import cv2
import numpy as np
import torch

import questions as Q
from capture import photograph, record
from config import SAMPLE_RATE
from render import draw
from scene import Scene
from sound import events, synthesise
from world import VERSION, build_scene


def write_png(path: Path, rgb) -> None:
    cv2.imwrite(str(path), np.ascontiguousarray(rgb[..., ::-1]), [cv2.IMWRITE_PNG_COMPRESSION, 9])


def write_wav(path: Path, samples) -> None:
    with wave.open(str(path), "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(SAMPLE_RATE)
        f.writeframes(np.asarray(samples, "<i2").tobytes())


def trimmed(samples):
    """Without the silence after the last sound, and one step of margin."""
    loud = np.flatnonzero(np.abs(samples) > 200)
    return samples[: (loud[-1] if len(loud) else SAMPLE_RATE) + SAMPLE_RATE // 5]


def media(scene: Scene, size: int, camera: bool):
    """u8 [frames, size, size, 3] or None, i16 samples or None."""
    images = np.stack([draw(f, size, scene.seed) for f in scene.frames]) if scene.has_image else None
    samples = synthesise(scene.sound)[0] if scene.has_audio else None
    torch.manual_seed(scene.seed)
    if camera and images is not None:
        x, _ = photograph(torch.from_numpy(images)[None], share=1.0)
        images = (x * 255).round().byte().permute(0, 2, 3, 1).numpy()
    if camera and samples is not None:
        samples = (record(torch.from_numpy(samples)[None], share=1.0)[0] * 32767).round().short().numpy()
    return images, samples


def record_of(scene: Scene, q, i: int, images, audio, camera: bool) -> dict:
    return {"id": f"v{VERSION}-{scene.split}-{scene.seed}-{i}", "family": q.family, "question": q.question,
            "answer": q.answer, "needs": {"vision": q.vision, "audio": q.audio}, "images": images, "audio": audio,
            "split": scene.split, "capture": "camera" if camera else "clean"}


def make_set(folder: Path, split: str, first: int, scenes: int, clips: int, size: int, per_scene: int) -> None:
    (folder / "media").mkdir(parents=True, exist_ok=True)
    with open(folder / "questions.jsonl", "w") as lines:
        for n in range(scenes + clips):
            clip = n >= scenes
            scene, camera = build_scene(split, first + n, clip), n % 2 == 1
            images, samples = media(scene, size, camera)
            names = [f"media/{first + n}-{k}.png" for k in range(len(images))] if images is not None else []
            for name, image in zip(names, images if names else ()):
                write_png(folder / name, image)
            audio = f"media/{first + n}.wav" if samples is not None else None
            if audio:
                write_wav(folder / audio, samples)
            for i, q in enumerate(scene.questions[:per_scene]):
                lines.write(json.dumps(record_of(scene, q, i, names, audio, camera)) + "\n")


GALLERY = [  # family, title, camera effects
    ("colour", "One color", False), ("shape", "One shape", True), ("count_shape", "Count a shape", False),
    ("count_colour", "Count a color", True), ("count_all", "Count everything", False), ("read", "Read a sign", False),
    ("read", "Read a photographed sign", True), ("read_which", "Two signs", False), ("read_near", "The sign near a shape", False),
    ("relation", "Left, right, above, below", False), ("closest", "The nearest neighbour", False), ("more", "More of these?", False),
    ("size", "The largest or smallest", False), ("position", "Where is it?", True), ("describe", "Describe a picture", False),
    ("say_all", "Repeat what was said", False), ("say_all", "A voice in a room", True), ("say_nth", "One of the words", False),
    ("said", "Was it said?", False), ("beep_count", "Count the beeps", False), ("tone", "What kind of tone?", False),
    ("spoken_question", "A spoken question", False), ("spoken_question", "Another spoken question", True),
    ("named_shape_colour", "The shape that the voice names", False), ("sign_else_sound", "The sign, or else the sound", False),
    ("describe_all", "All you see and hear", False), ("clip_what", "What happens?", False), ("clip_direction", "Which way?", False),
    ("clip_which", "Which one?", False)]


def good_sample(scene: Scene, q, family: str) -> bool:
    """Samples worth showing: something to see, something to hear."""
    enough = len(scene.frames) > 1 or len(scene.things) >= 4
    if scene.sound.kind == "nothing":
        return False
    voiced = bool(scene.sound.words) or family in ("beep_count", "tone")
    *_, (_, start, duration) = events(scene.sound)  # keeps the files small
    voiced = voiced and start + duration < (3.6 if q.audio else 1.3)
    return enough and voiced and scene.has_image and scene.has_audio and q.answer not in ("no sign", "nothing", "zero") \
        and (family != "say_all" or len(scene.sound.words) >= 3)


def make_gallery(folder: Path, size: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    entries, seed = [], 2_000_000
    for number, (family, title, camera) in enumerate(GALLERY, 1):
        while True:
            seed += 1
            scene = build_scene("test", seed, family.startswith("clip"), questions=0, present=(True, True))
            rng = Random(seed)
            q = Q.ask_one(scene, rng, family)
            if q and good_sample(scene, q, family):
                break
        images, samples = media(scene, 192 if len(scene.frames) > 1 else size, camera)
        name = f"{number:02}-{family.replace('_', '-')}"
        names = [f"{name}.png"] if len(images) == 1 else [f"{name}-{k}.png" for k in range(len(images))]
        for file, image in zip(names, images):
            if camera:  # noise does not compress as PNG; a light median keeps the look and the size
                image = cv2.medianBlur(image, 3) & 0xFC
            write_png(folder / file, image)
        write_wav(folder / f"{name}.wav", trimmed(samples))
        entries.append({"id": name, "title": title, "question": q.question[0].upper() + q.question[1:], "answer": q.answer,
                        "family": family, "images": names, "audio": f"{name}.wav",
                        "needs": {"vision": q.vision, "audio": q.audio}})
    (folder / "gallery.json").write_text(json.dumps({"version": VERSION, "samples": entries}, indent=1) + "\n")
    total = sum(p.stat().st_size for p in folder.iterdir())
    print(f"{len(entries)} samples, {total / 1e6:.2f} MB")


def make_cards(folder: Path, size: int) -> None:
    """Plain drawn scenes to show on a phone or to print, each with questions that fit it."""
    folder.mkdir(parents=True, exist_ok=True)
    entries, seed = [], 3_000_000
    wishes = [("read", "colour", "count_all"), ("describe", "outermost"), ("count_shape", "more", "count_colour"),
              ("relation", "closest", "position"), ("read_which", "read_near", "sign_count"), ("size", "larger", "style"),
              ("describe", "list_colours", "read"), ("spoken_question", "colour", "count_shape")]
    for number, families in enumerate(wishes, 1):
        while True:
            seed += 1
            scene = build_scene("test", seed, questions=0, present=(True, True))
            rng = Random(seed)
            asked = [Q.ask_one(scene, rng, f) for f in families if f != "spoken_question"]
            if 4 <= len(scene.things) <= 7 and all(asked) and all(q.answer not in ("zero", "no sign") for q in asked):
                break
        name = f"card-{number}.png"
        write_png(folder / name, draw(scene.frames[0], size, scene.seed))
        entries.append({"id": f"card-{number}", "title": f"Card {number}", "image": name, "description": ", ".join(Q.said_of(i) for i in (*scene.things, *scene.signs)),
                        "questions": [{"question": q.question[0].upper() + q.question[1:], "answer": q.answer, "family": q.family}
                                      for q in asked]})
    (folder / "cards.json").write_text(json.dumps({"version": VERSION, "cards": entries}, indent=1) + "\n")
    print(f"{len(entries)} cards, {sum(p.stat().st_size for p in folder.iterdir()) / 1e6:.2f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=Path, help="folder of an evaluation set")
    parser.add_argument("--split", default="test", choices=("train", "test"))
    parser.add_argument("--first", type=int, default=5_000_000, help="first scene seed")
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--clips", type=int, default=25)
    parser.add_argument("--per-scene", type=int, default=4)
    parser.add_argument("--size", type=int, default=384, help="picture side in pixels")
    parser.add_argument("--gallery", type=Path)
    parser.add_argument("--cards", type=Path)
    args = parser.parse_args()
    if args.to:
        make_set(args.to, args.split, args.first, args.scenes, args.clips, args.size, args.per_scene)
    if args.gallery:
        make_gallery(args.gallery, 320)
    if args.cards:
        make_cards(args.cards, 720)

"""The pocket world: one seeded scene with its sounds and questions.

`build_scene(split, seed)` is deterministic in (VERSION, split, seed). Splits: `train`, `test` (other seeds, voices held
out). Drawing is in `render.py`, samples in `sound.py`.
"""
from random import Random

from questions import ask
from scene import Scene, make_clip, make_frame
from sound import make_sound

VERSION = 1
PRESENT = ((True, True), (True, False), (False, True), (False, False))  # (image, audio)
PRESENT_WEIGHTS = (80, 9, 8, 3)


def build_scene(split: str, seed: int, clip: bool = False, questions: int = 20, present=None, row=None) -> Scene:
    rng = Random(f"{VERSION}/{split}/{seed}/{'clip' if clip else 'still'}")
    is_row = rng.random() < 0.35 if row is None else row
    if clip:
        frames, change = make_clip(rng)
    else:
        frames, change = [make_frame(rng, is_row)], None
    sound = make_sound(rng, split, frames[0], clip)
    image, audio = rng.choices(PRESENT, PRESENT_WEIGHTS)[0] if present is None else present
    scene = Scene(split, seed, frames, sound, image or clip, audio, change, is_row)
    scene.questions = ask(scene, rng, questions)
    return scene

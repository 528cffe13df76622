"""Sounds of the pocket world: which words, when, by which voice; and their synthesis to 16 kHz samples.

Words come from data/speech.npz, beeps and tones are computed. Room, gain, noise and clipping are added later, on the
GPU, in `capture.py`.
"""
from dataclasses import replace
from functools import cache
from random import Random

import numpy as np

import vocabulary as V
from build_speech import HELD_OUT_PATH, PATH, from_mu_law
from config import AUDIO_POSITIONS, SAMPLE_RATE, SAMPLES
from scene import Frame, Sound

BEEP_S, BEEP_STEP_S = 0.13, 0.36


class Speech:
    """The word corpus: `clip(voice, word)` is f32 samples."""

    def __init__(self):
        data = np.load(PATH if PATH.exists() else HELD_OUT_PATH)
        self.samples, self.offsets = data["samples"], data["offsets"]
        self.index = {w: i for i, w in enumerate(data["words"].tolist())}
        held_out = set(data["held_out"].tolist())
        self.voices = {"train": [v for v in range(len(self.offsets)) if v not in held_out], "test": sorted(held_out)}
        self.table = from_mu_law(np.arange(256, dtype=np.uint8))

    def length(self, voice: int, word: str) -> int:
        i = self.index[word]
        return int(self.offsets[voice, i + 1] - self.offsets[voice, i])

    def clip(self, voice: int, word: str, rate: float):
        i = self.index[word]
        x = self.table[self.samples[self.offsets[voice, i]:self.offsets[voice, i + 1]]]
        n = int(len(x) / rate)
        return np.interp(np.arange(n) * rate, np.arange(len(x)), x).astype(np.float32)


@cache
def speech() -> Speech:
    return Speech()


def spoken_question(rng: Random, frame: Frame):
    """Words of a question about the picture, and its family; None where none fits."""
    options = []
    shapes = [t.shape for t in frame.things]
    unique = [s for s in V.SHAPES if shapes.count(s) == 1]
    if unique:
        options.append((("what", "color", "is", "the", rng.choice(unique)), "colour"))
    if shapes:
        plural = V.PLURALS[rng.choice(shapes if rng.random() < 0.8 else V.SHAPES)]
        options.append((rng.choice((("how", "many", plural), ("how", "many", plural, "are", "there"))), "count_shape"))
    options.append((("is", "there", "a", rng.choice(shapes if shapes and rng.random() < 0.5 else V.SHAPES)), "exists"))
    if len(frame.signs) == 1:
        options.append((("what", "does", "the", "sign", "say"), "read"))
    return rng.choice(options)


def make_sound(rng: Random, split: str, frame: Frame, clip: bool) -> Sound:
    words, beeps, tone, asks = (), 0, None, None
    kind = rng.choices(("words", "question", "beeps", "words+beeps", "tone", "silence"), (54, 0 if clip else 16, 11, 7, 7, 5))[0]
    if kind in ("words", "words+beeps"):
        pool = V.CHAT_WORDS if rng.random() < 0.6 else V.SHAPES + list(V.COLOURS)
        n = rng.choices(range(1, 7), (3, 3, 4, 4, 3, 3))[0] if kind == "words" else rng.randint(1, 2)
        words = tuple(rng.choice(pool) for _ in range(n))
    elif kind == "question":
        words, asks = spoken_question(rng, frame)
    if kind in ("beeps", "words+beeps"):
        beeps = rng.randint(1, 6 if kind == "beeps" else 4)
    elif kind == "tone":
        tone = rng.choice(V.TONES)
    pitch = {"high": rng.uniform(1300, 2000), "low": rng.uniform(140, 280)}.get(tone, rng.uniform(600, 1200))
    sound = Sound(words, beeps, tone, rng.choice(speech().voices["test" if split == "test" else "train"]), asks,
                  rate=rng.uniform(0.9, 1.18), pitch=pitch)
    return fit(rng, sound)


def fit(rng: Random, sound: Sound) -> Sound:
    """Chooses gaps and offset so that all is heard inside the window; drops words that cannot be."""
    while True:
        spoken = sum(speech().length(sound.voice, w) for w in sound.words) / sound.rate / SAMPLE_RATE
        other = sound.beeps * BEEP_STEP_S + (1.5 if sound.tone else 0)
        room = SAMPLES / SAMPLE_RATE - 0.1 - spoken - other
        gaps = [rng.uniform(0.05, 0.28) for _ in sound.words]
        if sum(gaps) > room:
            gaps = [0.05 for _ in sound.words]
        if sum(gaps) <= room:
            return replace(sound, gaps=tuple(gaps), offset=rng.uniform(0.03, 0.05 + room - sum(gaps)))
        if sound.asks:
            sound = replace(sound, rate=sound.rate * 1.08)
        else:
            sound = replace(sound, words=sound.words[:-1])


def events(sound: Sound):
    """(label, start in s, duration in s) in order."""
    t = sound.offset
    for word, gap in zip(sound.words, sound.gaps):
        duration = speech().length(sound.voice, word) / sound.rate / SAMPLE_RATE
        yield word, t, duration
        t += duration + gap
    for _ in range(sound.beeps):
        yield "beep", t, BEEP_S
        t += BEEP_STEP_S
    if sound.tone:
        yield sound.tone, t, 1.3


def synthesise(sound: Sound):
    """i16 samples [76800] and a label of SOUND_LABELS for each 20 ms frame [240]."""
    out = np.zeros(SAMPLES + SAMPLE_RATE, np.float32)
    labels = np.zeros(AUDIO_POSITIONS, np.uint8)
    for label, start, duration in events(sound):
        if label in speech().index:
            x = speech().clip(sound.voice, label, sound.rate)
        else:
            n = int(duration * SAMPLE_RATE)
            f = np.full(n, sound.pitch)
            if label == "rising":
                f = np.linspace(300, 1600, n)
            x = 0.16 * np.sin(2 * np.pi * np.cumsum(f) / SAMPLE_RATE)
            ramp = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / 160)
            x = x * ramp
        i = int(start * SAMPLE_RATE)
        out[i:i + len(x)] += x[:len(out) - i]
        labels[int(start * 50):int((start + duration) * 50) + 1] = V.SOUND_LABELS.index(label)
    return np.clip(out[:SAMPLES] * 32767, -32767, 32767).astype(np.int16), labels

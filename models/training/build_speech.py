"""Builds data/speech.npz: every spoken word by every voice, with espeak-ng (run once; takes about a minute); and
data/held_out_speech.npz, the same with the held-out voices alone, which is in git: evaluation sets need no espeak-ng.

Layout: `samples` u8 mu-law at 16 kHz, `offsets` [voices, words + 1], `words`, `voices`, `held_out` (voices kept
for evaluation). Words are trimmed of silence and brought to one loudness. Usage: python build_speech.py
"""
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import vocabulary as V
from config import SAMPLE_RATE

PATH = Path(__file__).parent / "data" / "speech.npz"
HELD_OUT_PATH = PATH.with_name("held_out_speech.npz")
TRAIN_VOICES = [  # espeak-ng voice, words per minute, pitch
    ("en-us", 165, 50), ("en-us+f1", 160, 50), ("en-us+f2", 175, 55), ("en-us+f3", 150, 45), ("en-us+m1", 170, 40),
    ("en-us+m2", 155, 55), ("en-us+m4", 180, 45), ("en-us+m5", 165, 60), ("en-gb", 160, 50), ("en-gb+f4", 165, 55),
    ("en-gb+m3", 175, 50), ("en-gb+f5", 155, 45), ("en-gb-x-rp", 170, 45), ("en-gb-x-rp+f2", 160, 60),
    ("en-gb-scotland", 165, 50), ("en-gb-x-gbclan+f1", 165, 50), ("en-us+m6", 150, 35), ("en-us+Andrea", 165, 55),
    ("en-us+Michael", 165, 45), ("en-gb+Alex", 170, 55), ("en-us+klatt2", 165, 50), ("en-gb-x-gbcwmd+m8", 160, 50)]
TEST_VOICES = [("en-us+f4", 165, 50), ("en-gb+m7", 165, 50), ("en-us+Annie", 160, 50), ("en-gb-x-rp+m1", 170, 50)]


def to_mu_law(x):
    """f32 in [-1, 1] -> u8, mu = 255."""
    y = np.sign(x) * np.log1p(255 * np.abs(x)) / np.log(256)
    return np.round((y + 1) * 127.5).astype(np.uint8)


def from_mu_law(u):
    y = u.astype(np.float32) / 127.5 - 1
    return np.sign(y) * (np.power(256.0, np.abs(y), dtype=np.float32) - 1) / 255


def resample(x, rate_in: int, rate_out: int):
    """Band-limited resampling through the spectrum."""
    n = round(len(x) * rate_out / rate_in)
    spectrum = np.fft.rfft(x)
    return np.fft.irfft(spectrum[: n // 2 + 1], n) * (n / len(x))


def speak(job):
    (voice, speed, pitch), word = job
    wav = subprocess.run(["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", word],
                         check=True, capture_output=True).stdout
    rate = int.from_bytes(wav[24:28], "little")
    x = np.frombuffer(wav[44:44 + (len(wav) - 44) // 2 * 2], "<i2").astype(np.float64) / 32768
    x = resample(x, rate, SAMPLE_RATE)
    loud = np.flatnonzero(np.abs(x) > 0.03 * np.abs(x).max())
    x = x[max(loud[0] - 160, 0): loud[-1] + 480]
    x = x * min(0.12 / np.sqrt(np.mean(x ** 2)), 0.95 / np.abs(x).max())
    return to_mu_law(x)


def keep_held_out() -> None:
    """Voices keep their numbers; those of training have no samples left."""
    data = dict(np.load(PATH))
    first, offsets = data["offsets"][data["held_out"][0], 0], np.zeros_like(data["offsets"])
    offsets[data["held_out"]] = data["offsets"][data["held_out"]] - first
    np.savez_compressed(HELD_OUT_PATH, **(data | {"samples": data["samples"][first:], "offsets": offsets}))


if __name__ == "__main__":
    voices = TRAIN_VOICES + TEST_VOICES
    with ThreadPoolExecutor(2) as pool:
        clips = list(pool.map(speak, [(v, w) for v in voices for w in V.SPOKEN]))
    ends = np.cumsum([0] + [len(c) for c in clips])
    w = len(V.SPOKEN)
    offsets = np.stack([ends[i * w:(i + 1) * w + 1] for i in range(len(voices))])
    PATH.parent.mkdir(exist_ok=True)
    np.savez_compressed(PATH, samples=np.concatenate(clips), offsets=offsets, words=np.array(V.SPOKEN),
                        voices=np.array([v[0] for v in voices]),
                        held_out=np.arange(len(TRAIN_VOICES), len(voices)))
    keep_held_out()
    print(f"{len(voices)} voices x {w} words, {ends[-1] / SAMPLE_RATE:.0f} s, {PATH.stat().st_size / 1e6:.1f} MB")

"""Batches of packed scenes: CPU workers fill shared-memory slots, a thread gathers them on the GPU.

A slot holds a chunk of scenes of one kind (still or clip). Nothing is pickled but slot numbers. Sizes: about 350 kB a
still scene. `make_batch` builds the same arrays in process, for evaluation and dry runs.
"""
import contextlib
import math
import mmap
import multiprocessing as mp
import os
import queue
import threading
import traceback

import numpy as np
import torch

from config import AUDIO_POSITIONS, CLIP_FRAMES, SAMPLES
from packing import MAX_QUESTIONS, SEGMENT_TOKENS, pack
from render import draw, draw_labels
from sound import synthesise
from world import build_scene

SIDE, LABEL_SIDE = 224, 112


def fields(frames: int, width: int = SEGMENT_TOKENS):
    """Name -> (shape, dtype) of one scene."""
    return {"images": ((frames, SIDE, SIDE, 3), torch.uint8), "labels": ((frames, LABEL_SIDE, LABEL_SIDE, 3), torch.uint8),
            "samples": ((SAMPLES,), torch.int16), "sounds": ((AUDIO_POSITIONS,), torch.uint8),
            "present": ((2,), torch.uint8), "tokens": ((width,), torch.int16), "segment": ((width,), torch.uint8),
            "position": ((width,), torch.uint8), "weight": ((width,), torch.float16),
            "families": ((MAX_QUESTIONS,), torch.uint8), "looks": ((MAX_QUESTIONS,), torch.int16),
            "needs": ((MAX_QUESTIONS, 2), torch.uint8)}


def fill(slot, i: int, split: str, seed: int, clip: bool):
    """Writes scene `seed` into row i of a slot (name -> array)."""
    scene = build_scene(split, seed, clip)
    slot["present"][i] = scene.has_image, scene.has_audio
    for f, frame in enumerate(scene.frames):
        if scene.has_image:
            slot["images"][i, f] = draw(frame, SIDE, seed)
            slot["labels"][i, f] = draw_labels(frame, LABEL_SIDE)
        else:
            slot["images"][i, f], slot["labels"][i, f] = 128, 0
    if scene.has_audio:
        slot["samples"][i], slot["sounds"][i] = synthesise(scene.sound)
    else:
        slot["samples"][i], slot["sounds"][i] = 0, 0
    for name, value in pack(scene.questions).items():
        slot[name][i] = value
    return scene


def empty(n: int, frames: int, shared: bool = False):
    """Zeroed arrays of n scenes; `shared` ones live in anonymous memory that forked workers see (no /dev/shm)."""
    def make(shape, dtype):
        if not shared:
            return torch.zeros((n, *shape), dtype=dtype)
        count = math.prod((n, *shape))
        return torch.frombuffer(mmap.mmap(-1, count * dtype.itemsize), dtype=dtype, count=count).view(n, *shape)
    return {k: make(shape, dtype) for k, (shape, dtype) in fields(frames).items()}


def make_batch(split: str, seeds, clip: bool, device="cpu"):
    """Builds scenes in this process; returns tensors on the device, and the scenes."""
    tensors = empty(len(seeds), CLIP_FRAMES if clip else 1)
    views = {k: t.numpy() for k, t in tensors.items()}
    scenes = [fill(views, i, split, s, clip) for i, s in enumerate(seeds)]
    return {k: t.to(device) for k, t in tensors.items()}, scenes


def work(worker: int, workers: int, split: str, clip: bool, first: int, slots, free, full):
    torch.set_num_threads(1)
    os.nice(5)
    views = [{k: t.numpy() for k, t in slot.items()} for slot in slots]
    chunk, seed = len(views[0]["tokens"]), first + worker
    try:
        while True:
            i = free.get()
            for row in range(chunk):
                fill(views[i], row, split, seed, clip)
                seed += workers
            full.put(i)
    except (KeyboardInterrupt, EOFError, OSError):
        pass
    except Exception:  # a broken scene must stop training, not starve it
        traceback.print_exc()
        full.put(-1)


class Loader:
    """Yields batches on the device for ever. Start before CUDA is initialised (workers are forked)."""

    def __init__(self, split: str, batch: int, clip: bool, workers: int, first: int, chunk: int = 32, depth: int = 3):
        chunk = min(chunk, batch)
        assert batch % chunk == 0, (batch, chunk)
        self.batch, self.chunk, self.clip, self.depth = batch, chunk, clip, depth
        count = max(3 * batch // chunk, workers + 2)
        context = mp.get_context("fork")
        self.slots = [empty(chunk, CLIP_FRAMES if clip else 1, shared=True) for _ in range(count)]
        self.free, self.full = context.Queue(), context.Queue()
        for i in range(count):
            self.free.put(i)
        self.processes = [context.Process(target=work, daemon=True, args=(
            w, workers, split, clip, first, self.slots, self.free, self.full)) for w in range(workers)]
        for p in self.processes:
            p.start()

    def start(self, device):
        """Pins the slots and starts the gathering thread."""
        self.device, self.ready = torch.device(device), queue.Queue(self.depth - 1)
        if self.device.type == "cuda":
            for slot in self.slots:
                for t in slot.values():
                    torch.cuda.cudart().cudaHostRegister(t.data_ptr(), t.nbytes, 0)
        threading.Thread(target=self._gather, daemon=True).start()
        return self

    def _gather(self):
        cuda = self.device.type == "cuda"
        stream = torch.cuda.Stream(self.device) if cuda else None
        while True:
            with torch.cuda.stream(stream) if cuda else contextlib.nullcontext():
                target = {k: torch.empty((self.batch, *shape), dtype=dtype, device=self.device)
                          for k, (shape, dtype) in fields(CLIP_FRAMES if self.clip else 1).items()}
            for at in range(0, self.batch, self.chunk):
                i = self.full.get()
                if i < 0:
                    self.ready.put(None)
                    return
                if cuda:
                    with torch.cuda.stream(stream):
                        for k, t in self.slots[i].items():
                            target[k][at:at + self.chunk].copy_(t, non_blocking=True)
                    stream.synchronize()
                else:
                    for k, t in self.slots[i].items():
                        target[k][at:at + self.chunk] = t
                self.free.put(i)
            self.ready.put(target)

    def next(self):
        batch = self.ready.get()
        if batch is None:
            raise RuntimeError("a data worker failed; its traceback is above")
        if self.device.type == "cuda":
            for t in batch.values():
                t.record_stream(torch.cuda.current_stream())
        return batch

    def close(self):
        for p in self.processes:
            p.terminate()

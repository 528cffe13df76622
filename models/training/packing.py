"""Packs the questions of a scene behind one shared media prefix, and builds positions and masks.

    <|im_start|>User: IMG* AUD | q1 <end>\nAssistant: a1 <end> | q2 ... |
A question attends to the prefix and to itself; its positions continue from the prefix's length, so each sees exactly
the prompt it would see alone. An absent modality's tokens are hidden from all and take no positions.
"""
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
import torch
from tokenizers import Tokenizer

from build_tokenizer import PATH
from config import PocketConfig
from questions import FAMILIES

SEGMENT_TOKENS = 256
MAX_QUESTIONS = 24
HIDDEN, PAD = 254, 255  # segment numbers of absent media and of padding
FAMILY_NAMES = [*FAMILIES, "absent"]


@cache
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(PATH))


@lru_cache(300_000)
def encode(text: str) -> tuple[int, ...]:
    return tuple(tokenizer().encode(text, add_special_tokens=False).ids)


def token(name: str) -> int:
    return tokenizer().token_to_id(name)


def pack(questions, width: int = SEGMENT_TOKENS):
    """Arrays by name: tokens, segment (1.. / PAD), position in the segment, weight of the token as a target; and by
    question: family, `Question.looks`, whether it needs picture and sound."""
    tokens, segment = np.zeros(width, np.int16), np.full(width, PAD, np.uint8)
    position, weight = np.zeros(width, np.uint8), np.zeros(width, np.float16)
    families = np.full(MAX_QUESTIONS, 255, np.uint8)
    looks, needs = np.zeros(MAX_QUESTIONS, np.int16), np.zeros((MAX_QUESTIONS, 2), np.uint8)
    end, middle = token("<end_of_utterance>"), encode("\nAssistant:")
    at = n = 0
    for q in questions:
        asked = [*encode(q.question), end, *middle]
        answer = [*encode(" " + q.answer), end]
        size = len(asked) + len(answer)
        if at + size > width or n == MAX_QUESTIONS:
            continue
        tokens[at:at + size] = asked + answer
        segment[at:at + size] = n + 1
        position[at:at + size] = np.arange(size)
        weight[at + len(asked):at + size] = len(answer) ** -0.5
        families[n], looks[n], needs[n] = FAMILY_NAMES.index(q.family), q.looks, (q.vision, q.audio)
        at, n = at + size, n + 1
    return {"tokens": tokens, "segment": segment, "position": position, "weight": weight, "families": families,
            "looks": looks, "needs": needs}


@dataclass
class Layout:
    """The prefix of one model for a number of frames, on a device."""
    ids: torch.Tensor       # [p]
    kind: torch.Tensor      # [p] 0 text, 1 image, 2 audio
    image: torch.Tensor     # indices of image tokens, frame by frame
    audio: torch.Tensor
    frame: torch.Tensor     # [p] frame of an image part, -1 elsewhere

    @staticmethod
    def build(c: PocketConfig, frames: int, device) -> "Layout":
        ids, kind, image, audio = [token("<|im_start|>"), *encode("User:")], [], [], []
        kind, frame = [0] * len(ids), [-1] * len(ids)
        for f in range(frames):
            ids += [token("<fake_token_around_image>"), token("<global-img>")]
            image += range(len(ids), len(ids) + c.image_tokens)
            ids += [token("<image>")] * c.image_tokens + [token("<fake_token_around_image>")]
            frame += [f] * (len(ids) - len(frame))
        kind += [1] * (len(ids) - len(kind))
        ids.append(token("<audio_start>"))
        audio += range(len(ids), len(ids) + c.audio_tokens)
        ids += [token("<audio>")] * c.audio_tokens + [token("<audio_end>")]
        kind += [2] * (len(ids) - len(kind))
        frame += [-1] * (len(ids) - len(frame))
        make = lambda v: torch.tensor(v, device=device)
        return Layout(make(ids), make(kind), make(image), make(audio), make(frame))


def assemble(layout: Layout, batch, kept=None, multiple: int = 8):
    """ids, positions [b, n], additive bf16 mask [b, 1, n, n], and where the segments start.

    `kept` (sparsity.Kept): tokens that are not kept, and frames of which none is, are hidden like absent media."""
    tokens = batch["tokens"].long()
    b, width = tokens.shape
    p = len(layout.ids)
    present = torch.stack([torch.ones_like(batch["present"][:, 0]), *batch["present"].unbind(1)], 1).bool()[:, layout.kind]
    if kept is not None:
        whole_frames = kept.image.any(2)                                       # [b, frames]
        present = present & (whole_frames[:, layout.frame.clamp(min=0)] | (layout.frame < 0))
        present[:, layout.image] &= kept.image.flatten(1)
        present = present & (kept.audio.any(1, keepdim=True) | (layout.kind != 2))
        present[:, layout.audio] &= kept.audio
    extra = -(p + width) % multiple
    fill = lambda value: torch.full((b, extra), value, device=tokens.device)
    ids = torch.cat([layout.ids.expand(b, -1), tokens, fill(0)], 1)
    segment = torch.cat([torch.where(present, 0, HIDDEN), batch["segment"].long(), fill(PAD)], 1)
    start = present.sum(1, keepdim=True)
    positions = torch.cat([(present.cumsum(1) - 1).clamp(min=0), start + batch["position"].long(), fill(0)], 1)
    n = ids.shape[1]
    causal = torch.ones(n, n, dtype=torch.bool, device=ids.device).tril()
    seen = ((segment[:, None, :] == 0) | (segment[:, None, :] == segment[:, :, None])) & causal
    mask = torch.zeros(b, 1, n, n, dtype=torch.bfloat16, device=ids.device).masked_fill_(~seen[:, None], -30000.0)
    return ids, positions, mask, p


def targets(batch):
    """Next tokens and their weights within the segment block [b, width]."""
    return batch["tokens"].long().roll(-1, 1), batch["weight"].float().roll(-1, 1)


def exact_match(logits, batch):
    """Per question [b, MAX_QUESTIONS]: 1 where every answer token and the end is the argmax (greedy equality)."""
    want, weight = targets(batch)
    wrong = ((logits.argmax(-1) != want) & (weight > 0)).long()
    segment = batch["segment"].long().roll(-1, 1)
    segment = torch.where(segment > MAX_QUESTIONS, 0, segment)
    errors = torch.zeros(len(wrong), MAX_QUESTIONS + 1, dtype=torch.long, device=wrong.device)
    return errors.scatter_add(1, segment, wrong)[:, 1:] == 0

"""Which image and audio tokens of a batch are kept: ground truth, and the random choices of training.

A kept set has the grain of the target's tokens: squares of patches that the connector folds, stacks of audio frames,
whole frames of a clip. What is not kept is neither attended to in its tower nor seen by the decoder, exactly as if it
had never been sent. A question whose deciding items are not all kept is not asked.
"""
from dataclasses import dataclass

import torch

from packing import MAX_QUESTIONS, SEGMENT_TOKENS

SPARSE_SHARE = 0.6  # of the scenes of a training batch


@dataclass
class Kept:
    image: torch.Tensor  # bool [b, frames, image tokens]
    audio: torch.Tensor  # bool [b, audio tokens]

    @staticmethod
    def of(batch, config) -> "Kept":
        """Everything."""
        b, frames = batch["images"].shape[:2]
        full = lambda *shape: torch.ones(shape, dtype=torch.bool, device=batch["images"].device)
        return Kept(full(b, frames, config.image_tokens), full(b, config.audio_tokens))


def item_bits(label_map, side: int, frames: int):
    """label_map [b * frames, 3, l, l] -> int [b, frames, side * side]: bit set of the items seen in each cell."""
    n, l = label_map.shape[0], label_map.shape[-1]
    fine = -(-l // side)  # an up-sampling that loses no thin item
    index = (torch.arange(side * fine, device=label_map.device) * l) // (side * fine)
    items = label_map[:, 2][:, index][:, :, index].view(n, side, fine, side, fine).transpose(2, 3).reshape(n, side * side, -1)
    seen = torch.zeros(n, side * side, 16, dtype=torch.bool, device=items.device).scatter_(2, items, True)
    powers = torch.tensor([0] + [1 << i for i in range(15)], device=items.device)
    return (seen * powers).sum(-1).view(-1, frames, side * side)


def needed_cells(bits, looks):
    """bits [b, frames, cells], looks [b, q] -> bool [b, q, frames, cells]: where the deciding items are."""
    return (bits[:, None] & looks.int()[:, :, None, None]) != 0


def redundant_frames(label_map, frames: int):
    """bool [b, frames]: frames on which nothing moved since the one before."""
    maps = label_map.view(-1, frames, *label_map.shape[1:])[:, :, 0]
    same = (maps[:, 1:] == maps[:, :-1]).flatten(2).all(-1)
    return torch.cat([torch.zeros(len(same), 1, dtype=torch.bool, device=same.device), same], 1)


def silent_windows(sounds, windows: int):
    """sounds [b, positions] -> bool [b, windows]."""
    return (sounds.view(len(sounds), windows, -1) == 0).all(-1)


def at_least_one(keep):
    """Keeps one at random where none is kept. keep: bool [b, n]."""
    lucky = torch.zeros_like(keep).scatter_(1, torch.rand(keep.shape, device=keep.device).argmax(1, keepdim=True), True)
    return keep | (lucky & ~keep.any(1, keepdim=True))


def sample(batch, config, share: float = SPARSE_SHARE) -> tuple[Kept, torch.Tensor]:
    """A random kept set per scene, and which questions it leaves answerable: bool [b, MAX_QUESTIONS].

    Half of the sparse scenes lose background only; the others keep what one random question looks at, and a random
    share of the rest.
    """
    kept = Kept.of(batch, config)
    b, frames, tokens = kept.image.shape
    device = kept.image.device
    rand = lambda *shape: torch.rand(shape, device=device)
    sparse = rand(b) < share
    bits = item_bits(batch["label_map"], int(tokens ** 0.5), frames)
    needed = needed_cells(bits, batch["looks"])
    asked = batch["families"] != 255
    one = torch.multinomial(asked.float() + 1e-6, 1).view(b, 1, 1, 1).expand(-1, 1, frames, tokens)
    wanted = torch.where((rand(b) < 0.5)[:, None, None], needed.gather(1, one)[:, 0], bits != 0)
    image = wanted | (rand(b, frames, tokens) < rand(b, 1, 1) ** 2)
    redundant = redundant_frames(batch["label_map"], frames)
    image &= ~(redundant & (rand(b, 1) < 0.5))[..., None]
    image = at_least_one((image | ~sparse[:, None, None]).view(b, -1)).view_as(image)
    quiet = silent_windows(batch["sounds"], config.audio_tokens) & (rand(b, 1) < 0.5)
    audio = ~quiet | (rand(b, config.audio_tokens) < rand(b, 1)) | ~sparse[:, None]
    answerable = asked & (~needed | image[:, None] | redundant[:, None, :, None]).flatten(2).all(-1)
    return Kept(image, at_least_one(audio)), answerable


def for_question(batch, config, k: int) -> Kept:
    """Ground truth for question k of each scene: only what it looks at, no redundant frame, no silence."""
    kept = Kept.of(batch, config)
    b, frames, tokens = kept.image.shape
    bits = item_bits(batch["label_map"], int(tokens ** 0.5), frames)
    image = needed_cells(bits, batch["looks"][:, k:k + 1])[:, 0] & ~redundant_frames(batch["label_map"], frames)[..., None]
    audio = ~silent_windows(batch["sounds"], config.audio_tokens)
    return Kept(at_least_one(image.view(b, -1)).view_as(image), at_least_one(audio))


def only_question(batch, k: int):
    """The batch with question k alone left in every scene."""
    other = batch["segment"] != k + 1
    families = torch.full_like(batch["families"], 255)
    families[:, k] = batch["families"][:, k]
    return batch | {"weight": batch["weight"].masked_fill(other, 0), "families": families}


def mute(batch, answerable):
    """The batch without the answers of questions that cannot be answered from what is kept."""
    segment = batch["segment"].long()
    index = torch.where(segment > MAX_QUESTIONS, 0, segment)  # [b, SEGMENT_TOKENS]
    table = torch.cat([torch.ones_like(answerable[:, :1]), answerable], 1)
    assert index.shape[1] == SEGMENT_TOKENS
    return batch | {"weight": batch["weight"] * table.gather(1, index)}

"""Scores of patches without a trained probe, from what the edge computes anyway: the candidates that were measured.

Each takes the edge's features of one picture and the embeddings of a question, and gives one score a patch, larger where
the patch matters more. `evaluate_saliency.py` measures them; what the runtime uses (`src/saliency.rs`) is `default`.
"""
import torch
import torch.nn.functional as F

SHARPNESS = 5.0  # as src/saliency.rs: what a deviation more counts


def standard(x):
    """Zero mean and unit deviation over the patches of each picture. x: [b, n]."""
    return (x - x.mean(1, keepdim=True)) / x.std(1, unbiased=False, keepdim=True).clamp(min=1e-6)


def unit(x):
    """Each patch vector at zero mean and unit deviation, as a layer norm without weights leaves it."""
    return F.layer_norm(x, x.shape[-1:])


def norm(early):
    """Length of the vectors. early: [b, n, d]."""
    return early.norm(dim=-1)


def from_mean(early):
    """Distance from the picture's mean vector: what stands out of the background."""
    x = unit(early)
    return (x - x.mean(1, keepdim=True)).norm(dim=-1)


def from_neighbours(early):
    """Mean distance from the (up to four) neighbours: where something begins or ends."""
    b, n, d = early.shape
    side = int(n ** 0.5)
    x = unit(early).view(b, side, side, d)
    total, count = torch.zeros(b, side, side, device=x.device), torch.zeros(side, side, device=x.device)
    down, right = (x[:, 1:] - x[:, :-1]).norm(dim=-1), (x[:, :, 1:] - x[:, :, :-1]).norm(dim=-1)
    total[:, 1:] += down
    total[:, :-1] += down
    total[:, :, 1:] += right
    total[:, :, :-1] += right
    count[1:] += 1
    count[:-1] += 1
    count[:, 1:] += 1
    count[:, :-1] += 1
    return (total / count).view(b, n)


def attention_received(tower, early, layers: int):
    """How much all patches attend to each in the next layer, over all heads."""
    layer = tower.encoder.layers[layers]
    x = layer.layer_norm1(early)
    b, n, d = x.shape
    heads = layer.self_attn.heads
    q, k = (p(x).view(b, n, heads, d // heads).transpose(1, 2) for p in (layer.self_attn.q_proj, layer.self_attn.k_proj))
    return (q @ k.transpose(-1, -2) * (d // heads) ** -0.5).softmax(-1).mean((1, 2))


def similarity(tokens, question, length, side: int):
    """Largest cosine of a picture's tokens with the question's, both around their means, spread over `side` patches a
    side. tokens [b, m, h] in the decoder's space, question [b, l, h] of which `length` [b] are real."""
    real = (torch.arange(question.shape[1], device=question.device) < length[:, None])[..., None]
    asked = (question - (question * real).sum(1, keepdim=True) / length[:, None, None]) * real
    seen = tokens - tokens.mean(1, keepdim=True)
    cosine = F.normalize(seen, dim=-1) @ F.normalize(asked, dim=-1).transpose(1, 2)
    best = cosine.masked_fill(~real.transpose(1, 2), -1).amax(-1)
    b, m = best.shape
    scale = side // int(m ** 0.5)
    return best.view(b, side // scale, -1).repeat_interleave(scale, 1).repeat_interleave(scale, 2).reshape(b, -1)


def default(early):
    """What the runtime uses: patches that differ from the background or from what is beside them."""
    return standard(from_mean(early)) + standard(from_neighbours(early))


def weights(early):
    """The same as weights in 0 to 1, as the runtime adds them up over tiles. [b, n]"""
    return (SHARPNESS / 2 * default(early)).sigmoid()

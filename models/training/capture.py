"""What a camera and a microphone do to a card and a sound, vectorised in torch; and Whisper's log-mel.

`photograph` tilts the card, puts a desk around it, and adds uneven light, white balance, blur, sensor noise and
JPEG-like blocks. `record` adds room, gain, noise and clipping. A share of each batch stays nearly clean.
"""
from functools import cache

import torch
import torch.nn.functional as F

from config import SAMPLE_RATE

CAMERA_SHARE, ROOM_SHARE = 0.6, 0.65


def uniform(n, low, high, device, *shape):
    return torch.rand(n, *shape, device=device) * (high - low) + low


def homographies(n, strength, device):
    """[n, 3, 3]: output coordinates in [-1, 1] -> card coordinates; the card's edge is at +-1."""
    half = 1 - strength * uniform(n, -0.02, 0.24, device)
    slack = (1 - half).clamp(min=0) + 0.01 * strength
    centre = uniform(n, -1, 1, device, 2) * slack[:, None]
    angle = strength * uniform(n, -0.13, 0.13, device)
    c, s = angle.cos(), angle.sin()
    corners = torch.tensor([(-1.0, -1.0), (1, -1), (1, 1), (-1, 1)], device=device)
    turned = torch.stack([corners[:, 0] * c[:, None] - corners[:, 1] * s[:, None],
                          corners[:, 0] * s[:, None] + corners[:, 1] * c[:, None]], -1)        # [n, 4, 2]
    out = turned * half[:, None, None] + centre[:, None] + strength[:, None, None] * uniform(n, -0.07, 0.07, device, 4, 2)
    x, y = out.unbind(-1)
    u, v = corners[:, 0].expand(n, 4), corners[:, 1].expand(n, 4)
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    rows = torch.cat([torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], -1),
                      torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], -1)], 1)       # [n, 8, 8]
    h = torch.linalg.solve(rows, torch.cat([u, v], 1))
    return torch.cat([h, torch.ones(n, 1, device=device)], 1).view(n, 3, 3)


@cache
def dct_matrix(device):
    k = torch.arange(8, dtype=torch.float32)
    m = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) * 0.5
    m[0] /= 2 ** 0.5
    return m.to(device)


def jpeg(x, step):
    """Quantises the 8 x 8 DCT of each channel [n, 3, s, s] (luma and chroma coarser with frequency)."""
    n, _, s, _ = x.shape
    to_ycc = torch.tensor([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], device=x.device)
    y = torch.einsum("ij,njhw->nihw", to_ycc, x)
    blocks = y.view(n, 3, s // 8, 8, s // 8, 8).permute(0, 1, 2, 4, 3, 5)
    d = dct_matrix(x.device)
    f = torch.arange(8, device=x.device, dtype=torch.float32)
    table = (1 + f[:, None] + f[None]) * torch.tensor([1.0, 2.0, 2.0], device=x.device)[:, None, None]
    q = step.view(n, 1, 1, 1, 1, 1) * table.view(1, 3, 1, 1, 8, 8)
    coded = torch.round((d @ blocks @ d.T) / q) * q
    y = (d.T @ coded @ d).permute(0, 1, 2, 4, 3, 5).reshape(n, 3, s, s)
    return torch.einsum("ij,njhw->nihw", torch.linalg.inv(to_ycc), y)


def blur(x, sigma: float):
    k = torch.exp(-torch.arange(-3, 4, device=x.device).float() ** 2 / (2 * sigma * sigma))
    k = (k / k.sum()).expand(3, 1, 1, 7)
    return F.conv2d(F.conv2d(x, k, padding=(0, 3), groups=3), k.transpose(2, 3), padding=(3, 0), groups=3)


@torch.no_grad()
def photograph(images, labels=None, share: float = CAMERA_SHARE):
    """u8 [b, frames, s, s, 3] -> f32 [b * frames, 3, s, s] in [0, 1], and labels u8 [b, frames, l, l, c] warped
    alike [b * frames, c, l, l]. All frames of a clip share one camera; the noise differs."""
    b, frames, s = images.shape[:3]
    device, n = images.device, b * frames
    each = lambda t: t.repeat_interleave(frames, 0)
    strength = (torch.rand(b, device=device) < share).float()
    strength = strength * uniform(b, 0.3, 1.0, device)
    h = each(homographies(b, strength, device))
    k = each(strength)
    wide = lambda t: t.view(-1, 1, 1, 1)

    def grid(side):
        line = (torch.arange(side, device=device) + 0.5) * (2 / side) - 1
        yy, xx = torch.meshgrid(line, line, indexing="ij")
        p = torch.stack([xx, yy, torch.ones_like(xx)], -1).view(1, -1, 3) @ h.transpose(1, 2)
        return (p[..., :2] / p[..., 2:]).view(n, side, side, 2), xx, yy

    where, xx, yy = grid(s)
    x = images.reshape(n, s, s, 3).permute(0, 3, 1, 2).float() / 255
    x = F.grid_sample(x, where, mode="bilinear", padding_mode="border", align_corners=False)
    soft = 40.0  # edge of the card, a few pixels soft
    inside = torch.sigmoid((1 - where.abs().amax(-1)) * soft * 4)[:, None]
    inside = torch.where(wide(k) > 0, inside, torch.ones_like(inside))
    desk = each(torch.rand(b, 3, 1, 1, device=device) * 0.8 + 0.05) + F.interpolate(
        each(torch.randn(b, 1, 6, 6, device=device) * 0.08), size=(s, s), mode="bilinear")
    x = x * inside + desk * (1 - inside)

    angle, slope = each(uniform(b, 0, 6.2832, device)), each(uniform(b, 0, 0.3, device))
    light = 1 + wide(k * slope) * (wide(angle.cos()) * xx + wide(angle.sin()) * yy)
    light = light * wide(1 + k * each(uniform(b, -0.3, 0.12, device)))
    balance = 1 + k[:, None, None, None] * each(uniform(b, -0.13, 0.13, device, 3, 1, 1))
    x = (x * light * balance).clamp(1e-4, 1)
    x = x ** wide(1 + k * each(uniform(b, -0.2, 0.25, device)))
    amount = wide(k * each(torch.rand(b, device=device) * (torch.rand(b, device=device) < 0.6)))
    x = x + (blur(x, 1.1) - x) * amount
    x = x + torch.randn_like(x) * wide(0.004 + k * each(uniform(b, 0, 0.04, device)))
    coded = (torch.rand(n, device=device) < 0.5) & (k > 0)
    x = torch.where(wide(coded), jpeg(x, uniform(n, 0.004, 0.03, device)), x).clamp(0, 1)
    if labels is None:
        return x, None
    side = labels.shape[2]
    where, _, _ = grid(side)
    y = labels.reshape(n, side, side, -1).permute(0, 3, 1, 2).float()
    return x, F.grid_sample(y, where, mode="nearest", padding_mode="zeros", align_corners=False).round().long()


@torch.no_grad()
def record(samples, share: float = ROOM_SHARE):
    """i16 [b, 76800] -> f32 in [-1, 1], through a room and a microphone."""
    x = samples.float() / 32768
    b, n = x.shape
    device = x.device
    k = (torch.rand(b, device=device) < share).float()[:, None]
    size = 1 << 17
    t = torch.arange(size, device=device) / SAMPLE_RATE
    decay = uniform(b, 0.03, 0.12, device, 1)
    room = torch.randn(b, size // 8, device=device) * torch.exp(-t[: size // 8] / decay)
    room = room * (k * uniform(b, 0, 0.25, device, 1)) / room.norm(dim=1, keepdim=True)
    room[:, 0] += 1
    spectrum = torch.fft.rfft(x, size) * torch.fft.rfft(room, size)
    f = torch.arange(size // 2 + 1, device=device) * (SAMPLE_RATE / size)
    tilt = uniform(b, -0.5, 0.35, device, 1) * k                                # a microphone's colour
    spectrum = spectrum * ((f + 300) / 1500).clamp(0.05, 4) ** tilt
    x = torch.fft.irfft(spectrum, size)[:, :n]
    pink = torch.fft.irfft(torch.fft.rfft(torch.randn(b, n, device=device)) /
                           (1 + torch.arange(n // 2 + 1, device=device) / 800) ** uniform(b, 0, 1, device, 1), n)
    pink = pink / pink.std(1, keepdim=True)
    level = 10 ** ((-72 + k * uniform(b, 8, 42, device, 1)) / 20)                # -72 dBFS clean, -64..-30 in a room
    hum = torch.sin(6.2832 * uniform(b, 48, 62, device, 1) * t[:n]) * 0.01 * k * torch.rand(b, 1, device=device)
    gain = 10 ** ((k * uniform(b, -14, 12, device, 1)) / 20)
    return ((x + pink * level + hum) * gain).clamp(-1, 1)


@cache
def mel_filters(device):
    from transformers.audio_utils import mel_filter_bank
    bank = mel_filter_bank(201, 80, 0.0, 8000.0, SAMPLE_RATE, norm="slaney", mel_scale="slaney")
    return torch.tensor(bank, dtype=torch.float32, device=device)               # [201, 80]


@torch.no_grad()
def log_mel(x):
    """f32 [b, 76800] -> [b, 80, 480], exactly as WhisperFeatureExtractor."""
    s = torch.stft(x, 400, 160, window=torch.hann_window(400, device=x.device), return_complex=True)
    mel = mel_filters(x.device).T @ (s[..., :-1].abs() ** 2)
    log = mel.clamp(min=1e-10).log10()
    log = torch.maximum(log, log.amax((1, 2), keepdim=True) - 8)
    return (log + 4) / 4


def resize(x, side: int):
    """[n, 3, s, s] in [0, 1] -> [n, 3, side, side] in [-1, 1]; antialiased, close to PIL's Lanczos."""
    if x.shape[-1] != side:
        x = F.interpolate(x, size=(side, side), mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
    return x * 2 - 1

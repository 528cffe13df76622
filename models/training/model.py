"""The composite multimodal LLM in plain PyTorch, module for module as the checkpoints name it.

`"model." + name` of every parameter is the published tensor name: SmolVLM's for vision, connector and text,
Whisper's encoder under `audio_model`, an Ultravox-style `audio_projector`. Semantics follow `transformers`
(Idefics3/SmolVLM vision, Llama text, Whisper encoder); `export.py` checks the logits against it.
Knows nothing of questions, packing or training.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

from config import AUDIO_POSITIONS, PATCH, PocketConfig


def hide(keep):
    """bool [b, n] of kept positions -> additive bf16 mask [b, 1, n, n]; rows that keep nothing see all (unused)."""
    keep = keep | ~keep.any(1, keepdim=True)
    mask = torch.zeros(keep.shape, dtype=torch.bfloat16, device=keep.device).masked_fill_(~keep, -30000.0)
    return mask[:, None, None, :].expand(-1, 1, keep.shape[1], -1)


class RmsNorm(nn.Module):
    def __init__(self, dim: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(dim)), eps

    def forward(self, x):
        y = x.float()
        y = y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.eps)
        return (self.weight * y).to(x.dtype)


class EncoderAttention(nn.Module):
    """Full self-attention of both encoders; Whisper's keys carry no bias, its output is `out_proj` too."""

    def __init__(self, dim: int, heads: int, key_bias: bool):
        super().__init__()
        self.heads = heads
        self.q_proj, self.v_proj = nn.Linear(dim, dim), nn.Linear(dim, dim)
        self.k_proj, self.out_proj = nn.Linear(dim, dim, bias=key_bias), nn.Linear(dim, dim)

    def forward(self, x, mask=None):
        b, n, d = x.shape
        q, k, v = (p(x).view(b, n, self.heads, d // self.heads).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))          # [b, h, n, d/h]
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask if mask is None else mask.to(q.dtype))
        return self.out_proj(y.transpose(1, 2).reshape(b, n, d))


class VisionMlp(nn.Module):
    def __init__(self, dim: int, ffn: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, ffn), nn.Linear(ffn, dim)

    def forward(self, x):
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class VisionLayer(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.layer_norm1 = nn.LayerNorm(c.vision_hidden, eps=1e-6)
        self.self_attn = EncoderAttention(c.vision_hidden, c.vision_heads, key_bias=True)
        self.layer_norm2 = nn.LayerNorm(c.vision_hidden, eps=1e-6)
        self.mlp = VisionMlp(c.vision_hidden, c.vision_ffn)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.layer_norm1(x), mask)
        return x + self.mlp(self.layer_norm2(x))


class VisionEmbeddings(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, c.vision_hidden, PATCH, PATCH)
        self.position_embedding = nn.Embedding(c.patches_per_side ** 2, c.vision_hidden)

    def forward(self, pixels):
        x = self.patch_embedding(pixels).flatten(2).transpose(1, 2)           # [b, patches, d], row-major
        return x + self.position_embedding.weight


class Stack(nn.Module):
    """Holds `layers`, so that parameters are named `encoder.layers.N`."""

    def __init__(self, layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)


class VisionModel(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.embeddings = VisionEmbeddings(c)
        self.encoder = Stack(VisionLayer(c) for _ in range(c.vision_layers))
        self.post_layernorm = nn.LayerNorm(c.vision_hidden, eps=1e-6)

    def forward(self, pixels, mask=None):
        return self.post_layernorm(self.early(pixels, len(self.encoder.layers), mask))

    def early(self, pixels, layers: int, mask=None):
        """Patch vectors after the first `layers` layers [b, patches, d]."""
        x = self.embeddings(pixels)
        for layer in self.encoder.layers[:layers]:
            x = layer(x, mask)
        return x


class Projection(nn.Module):
    def __init__(self, d_in: int, d_out: int):
        super().__init__()
        self.proj = nn.Linear(d_in, d_out, bias=False)


class Connector(nn.Module):
    """Pixel shuffle: `scale` x `scale` neighbouring patches become one token, then one projection."""

    def __init__(self, c: PocketConfig):
        super().__init__()
        self.scale = c.scale_factor
        self.modality_projection = Projection(c.vision_hidden * c.scale_factor ** 2, c.hidden)

    def forward(self, x):
        b, n, d = x.shape
        side, s = math.isqrt(n), self.scale
        x = x.view(b, side, side // s, d * s).permute(0, 2, 1, 3)             # [b, w/s, h, d*s]
        x = x.reshape(b, side // s, side // s, d * s * s).permute(0, 2, 1, 3)
        return self.modality_projection.proj(x.reshape(b, n // (s * s), d * s * s))


class AudioLayer(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        d = c.audio_hidden
        self.self_attn = EncoderAttention(d, c.audio_heads, key_bias=False)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.fc1, self.fc2 = nn.Linear(d, c.audio_ffn), nn.Linear(c.audio_ffn, d)

    def forward(self, x, mask=None):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class AudioModel(nn.Module):
    """Whisper's encoder on a short window: mel [b, 80, 480] -> [b, 240, d]."""

    def __init__(self, c: PocketConfig):
        super().__init__()
        d = c.audio_hidden
        self.conv1, self.conv2 = nn.Conv1d(80, d, 3, padding=1), nn.Conv1d(d, d, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(AUDIO_POSITIONS, d)
        self.layers = nn.ModuleList(AudioLayer(c) for _ in range(c.audio_layers))
        self.layer_norm = nn.LayerNorm(d)

    def forward(self, mel, mask=None):
        return self.layer_norm(self.early(mel, len(self.layers), mask))

    def early(self, mel, layers: int, mask=None):
        """Frame vectors after the first `layers` layers [b, 240, d]."""
        x = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        x = x + self.embed_positions.weight
        for layer in self.layers[:layers]:
            x = layer(x, mask)
        return x


class AudioProjector(nn.Module):
    """Ultravox: stack frames, RMSNorm, SwiGLU, RMSNorm."""

    def __init__(self, c: PocketConfig):
        super().__init__()
        self.stack = c.stack_factor
        self.ln_pre = RmsNorm(c.audio_hidden * c.stack_factor, 1e-6)
        self.linear_1 = nn.Linear(c.audio_hidden * c.stack_factor, 2 * c.hidden, bias=False)
        self.linear_2 = nn.Linear(c.hidden, c.hidden, bias=False)
        self.ln_post = RmsNorm(c.hidden, 1e-6)

    def forward(self, x):
        b, n, d = x.shape
        x, gate = self.linear_1(self.ln_pre(x.reshape(b, n // self.stack, d * self.stack))).chunk(2, -1)
        return self.ln_post(self.linear_2(F.silu(gate) * x))


def rope_tables(positions, head_dim: int, theta: float = 10000.0):
    """cos, sin of shape [b, 1, n, head_dim], half-rotation layout."""
    inv = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    angles = positions[:, None, :, None].float() * inv
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    turned = torch.cat((-x[..., half:], x[..., :half]), -1)
    return (x * cos + turned * sin).to(x.dtype)


class TextAttention(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, c.head_dim
        self.q_proj = nn.Linear(c.hidden, c.heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden, c.kv_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.hidden, c.kv_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.heads * c.head_dim, c.hidden, bias=False)

    def forward(self, x, cos, sin, mask):
        b, n, _ = x.shape
        q = rotate(self.q_proj(x).view(b, n, self.heads, -1).transpose(1, 2), cos, sin)
        k = rotate(self.k_proj(x).view(b, n, self.kv_heads, -1).transpose(1, 2), cos, sin)
        v = self.v_proj(x).view(b, n, self.kv_heads, -1).transpose(1, 2)
        groups = self.heads // self.kv_heads
        k, v = (t.repeat_interleave(groups, 1) for t in (k, v))               # grouped queries
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.to(q.dtype))
        return self.o_proj(y.transpose(1, 2).reshape(b, n, -1))


class TextMlp(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.gate_proj, self.up_proj = (nn.Linear(c.hidden, c.ffn, bias=False) for _ in range(2))
        self.down_proj = nn.Linear(c.ffn, c.hidden, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class TextLayer(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.input_layernorm = RmsNorm(c.hidden, 1e-5)
        self.self_attn = TextAttention(c)
        self.post_attention_layernorm = RmsNorm(c.hidden, 1e-5)
        self.mlp = TextMlp(c)

    def forward(self, x, cos, sin, mask):
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, mask)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, c: PocketConfig):
        super().__init__()
        self.head_dim = c.head_dim
        self.embed_tokens = nn.Embedding(c.vocab_size, c.hidden)
        self.layers = nn.ModuleList(TextLayer(c) for _ in range(c.layers))
        self.norm = RmsNorm(c.hidden, 1e-5)

    def forward(self, embeds, positions, mask):
        cos, sin = rope_tables(positions, self.head_dim)
        for layer in self.layers:
            embeds = layer(embeds, cos, sin, mask)
        return self.norm(embeds)


class PocketModel(nn.Module):
    """Vision, audio and text towers; `forward` decodes a prepared sequence."""

    def __init__(self, c: PocketConfig):
        super().__init__()
        self.config = c
        self.vision_model, self.connector = VisionModel(c), Connector(c)
        self.text_model = TextModel(c)
        self.audio_model, self.audio_projector = AudioModel(c), AudioProjector(c)
        self.apply(self._init)
        for tower, depth in ((self.vision_model, c.vision_layers), (self.text_model, c.layers),
                             (self.audio_model, c.audio_layers)):
            for name, p in tower.named_parameters():
                if name.endswith(("out_proj.weight", "o_proj.weight", "fc2.weight", "down_proj.weight")):
                    p.data.mul_(1 / math.sqrt(2 * depth))

    @staticmethod
    def _init(m):
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=1 / math.sqrt(m.weight.shape[1]))
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, std=0.02 if m.weight.shape[0] > AUDIO_POSITIONS else 0.1)

    def encode_image(self, pixels, keep=None):
        """[b, 3, s, s] in [-1, 1] -> image tokens [b, n, hidden], patch features [b, patches, vision_hidden].

        With `keep`, bool [b, n], the patches of the other tokens are not attended to: the kept ones come out as if the
        others were not there."""
        patches = self.vision_model(pixels, None if keep is None else hide(self.patches_of(keep)))
        return self.connector(patches), patches

    def patches_of(self, keep):
        """bool [b, image tokens] -> [b, patches]."""
        side, s = self.config.patches_per_side // self.config.scale_factor, self.config.scale_factor
        grid = keep.view(-1, side, side).repeat_interleave(s, 1).repeat_interleave(s, 2)
        return grid.reshape(len(keep), -1)

    def encode_audio(self, mel, keep=None):
        """[b, 80, 480] -> audio tokens [b, m, hidden], frame features [b, 240, audio_hidden]. `keep`: bool [b, m]."""
        mask = None if keep is None else hide(keep.repeat_interleave(self.config.stack_factor, 1))
        frames = self.audio_model(mel, mask)
        return self.audio_projector(frames), frames

    def hidden_states(self, ids, positions, mask, media=()):
        """Final hidden states [b, n, hidden]. `media`: pairs (sequence indices [k], features [b, k, hidden])
        replacing the embeddings there. `mask` is additive, [b, 1, n, n]."""
        x = self.text_model.embed_tokens(ids)
        for index, features in media:
            x = x.index_copy(1, index, features.to(x.dtype))
        return self.text_model(x, positions, mask)

    def logits(self, hidden):
        return F.linear(hidden, self.text_model.embed_tokens.weight)

    def forward(self, ids, positions, mask, media=()):
        """Logits [b, n, vocab]."""
        return self.logits(self.hidden_states(ids, positions, mask, media))

    def compile_layers(self):
        """Compiles layer by layer: all layers of a tower share one compilation."""
        for tower in (self.vision_model.encoder, self.text_model, self.audio_model):
            for layer in tower.layers:
                layer.compile(dynamic=False)


class AuxiliaryHeads(nn.Module):
    """Training-only read-outs: what lies under each quarter cell of a patch, which word each frame is in."""
    CELLS = 4  # per patch side

    def __init__(self, c: PocketConfig, things: int, glyphs: int, sounds: int):
        super().__init__()
        self.things, self.glyphs = things, glyphs
        self.thing_head = nn.Linear(c.vision_hidden, 4 * things)              # 2 x 2 cells a patch
        self.glyph_head = nn.Linear(c.vision_hidden, self.CELLS ** 2 * glyphs)
        self.sound_head = nn.Linear(c.audio_hidden, sounds)


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())

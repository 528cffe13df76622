"""The MAS probe: how much each modality, and each patch, matters to a question, from what the edge computes anyway.

Inputs are the question's token embeddings, the patch vectors after the first vision layer, and the audio vectors after
the first audio layer, pooled to windows. Outputs are logits of the relevances r_vision, r_audio = P(the answer changes
without it) and of each patch deciding the answer. About 50 k weights; `early_features` is what the runtime mirrors.
"""
import torch
import torch.nn.functional as F
from torch import nn

from packing import encode

WINDOW = 8         # encoder frames of 20 ms in an audio window
MAX_QUESTION = 40  # tokens; longer questions are cut


def question_tokens(batch, rows, slots):
    """Token ids [n, MAX_QUESTION] and lengths [n] of the questions in these slots of these scenes of a packed batch;
    what follows a question is left out of its length."""
    segment = batch["segment"].long()[rows]
    tail = 1 + len(encode("\nAssistant:"))                              # the end token, and what calls for the answer
    asked = (segment == slots[:, None] + 1) & (batch["weight"][rows] == 0)
    place = (asked.long().argmax(1)[:, None] + torch.arange(MAX_QUESTION, device=segment.device)).clamp(max=segment.shape[1] - 1)
    return batch["tokens"].long()[rows].gather(1, place), (asked.sum(1) - tail).clamp(1, MAX_QUESTION)


class Side(nn.Module):
    """One medium under the question: features [b, n, d] -> hidden [b, n, w] and what is pooled of it [b, 2 w]."""

    def __init__(self, d: int, width: int, outputs: int):
        super().__init__()
        self.norm = nn.LayerNorm(d)
        self.input = nn.Linear(d, width)
        self.question = nn.Linear(2 * width, width, bias=False)
        self.output = nn.Linear(width, outputs)

    def forward(self, x, question):
        h = F.gelu(self.input(self.norm(x)) + self.question(question)[:, None])
        logits = self.output(h)                                        # [b, n, outputs]; the first one pools
        pooled = (logits[..., :1].softmax(1) * h).sum(1)
        return logits, torch.cat([pooled, h.amax(1)], 1)


class MasProbe(nn.Module):
    def __init__(self, text: int, vision: int, audio: int | None, width: int = 48, hidden: int = 64):
        super().__init__()
        self.text_norm = nn.LayerNorm(text)
        self.text = nn.Linear(3 * text, width)
        self.vision, self.audio = Side(vision, width, 2), Side(audio, width, 1) if audio else None  # deaf: nothing is heard
        self.modal_1, self.modal_2 = nn.Linear(6 * width, hidden), nn.Linear(hidden, 2)

    def forward(self, question, length, vision, audio, present):
        """question [b, l, text] with `length` [b] real tokens, vision [b, p, d], audio [b, w, d], present [b, 2]
        -> logits of r [b, 2] (vision, audio), of the patches [b, p]."""
        real = (torch.arange(question.shape[1], device=question.device) < length[:, None])[..., None]
        x = self.text_norm(question) * real
        none = torch.zeros_like(x[:, :1])
        h = F.gelu(self.text(torch.cat([torch.cat([none, x[:, :-1]], 1), x, torch.cat([x[:, 1:], none], 1)], -1)))
        mean = (h * real).sum(1) / length[:, None]
        asked = torch.cat([mean, h.masked_fill(~real, -1e4).amax(1)], 1)
        patches, seen = self.vision(vision, asked)
        heard = self.audio(audio, asked)[1] if self.audio else torch.zeros_like(asked)
        both = torch.cat([asked, seen * present[:, :1], heard * present[:, 1:]], 1)
        return self.modal_2(F.gelu(self.modal_1(both))), patches[..., 1]


def early_features(model, pixels, mel, vision_layers: int = 1, audio_layers: int = 1):
    """Patch vectors [b, patches, d] and window vectors [b, windows, d] of the edge model."""
    vision = model.vision_model.early(pixels, vision_layers)
    audio = model.audio_model.early(mel, audio_layers)
    return vision, audio.view(len(audio), -1, WINDOW, audio.shape[-1]).mean(2)

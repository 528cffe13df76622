"""Muon for hidden matrices, AdamW for the rest, and the guards that keep both finite.

Plain SigLIP/Whisper/Llama shapes have no QK-norm, so after each step query and key matrices are projected back
to a bounded row norm: attention logits cannot run away. A step with a non-finite gradient is skipped.
"""
from collections import defaultdict

import torch

QK_ROW_NORM = 3.0


def orthogonalise(g, steps: int = 5):
    """Newton-Schulz iteration of Muon on a batch of matrices [k, rows, cols]."""
    x = g.bfloat16()
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * (a @ a)) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, params, lr: float, momentum: float = 0.95, weight_decay: float = 0.05):
        super().__init__(list(params), dict(lr=lr, momentum=momentum, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            shapes = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    shapes[p.shape].append(p)
            for (rows, cols), params in shapes.items():
                buffers = [self.state[p].setdefault("momentum", torch.zeros_like(p)) for p in params]
                grads = [p.grad for p in params]
                torch._foreach_lerp_(buffers, grads, 1 - group["momentum"])
                update = orthogonalise(torch.stack(torch._foreach_lerp(grads, buffers, group["momentum"])))
                update = update.to(params[0].dtype) * max(1.0, rows / cols) ** 0.5
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(params, list(update.unbind(0)), alpha=-group["lr"])


class Optimiser:
    """Both optimisers of one model, gradient clipping, and the guards."""

    def __init__(self, model, heads, muon_lr: float, adam_lr: float, fused: bool):
        matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
        chosen = {id(p) for p in matrices}
        rest = [p for p in (*model.parameters(), *heads.parameters()) if id(p) not in chosen]
        self.params = matrices + rest
        self.qk = [p for n, p in model.named_parameters() if n.endswith(("q_proj.weight", "k_proj.weight"))]
        self.parts = [Muon(matrices, muon_lr), torch.optim.AdamW(rest, adam_lr, betas=(0.9, 0.95), weight_decay=0.01, fused=fused)]
        self.peak = [muon_lr, adam_lr]
        self.skipped = 0

    def step(self, scale: float) -> float:
        """One step at `scale` times the peak rates; returns the gradient norm."""
        norm = torch.nn.utils.clip_grad_norm_(self.params, 1.0).item()
        if norm != norm or norm == float("inf"):
            self.skipped += 1
            self.zero()
            if self.skipped > 20:
                raise RuntimeError("20 steps with non-finite gradients in a row")
            return norm
        self.skipped = 0
        for part, peak in zip(self.parts, self.peak):
            for group in part.param_groups:
                group["lr"] = peak * scale
            part.step()
        self.zero()
        with torch.no_grad():
            limits = [(QK_ROW_NORM * p.shape[0] ** 0.5 / n.clamp(min=1e-6)).clamp(max=1)
                      for p, n in zip(self.qk, torch._foreach_norm(self.qk))]
            torch._foreach_mul_(self.qk, limits)
        return norm

    def zero(self):
        for p in self.params:
            p.grad = None

    def state(self):
        return [part.state_dict() for part in self.parts]

    def load(self, state):
        for part, value in zip(self.parts, state):
            part.load_state_dict(value)

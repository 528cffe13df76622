"""Makes the golden tensors that hold the burn modules to the reference implementation.

A tiny, randomly initialised SmolVLM-shaped model with a Whisper encoder and an Ultravox-style projector is built
from configuration with `transformers`, saved as one checkpoint (weights and config.json as this repository's
checkpoints have them), and run on random inputs. `models/tests/parity.rs` reads both and compares.

    pip install torch transformers safetensors
    python models/tests/reference/make_golden.py

Runs on the CPU in seconds; the same versions give the same files.
"""

import hashlib
import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from torch import nn
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
SEED = 20
GREEDY_TOKENS = 64
# Two scores closer than this could change places under rounding.
MIN_MARGIN = 1e-3

IMAGE_TOKEN, AUDIO_TOKEN = 5, 7
CONFIG = {
    "architectures": ["SmolVLMForConditionalGeneration"],
    "model_type": "smolvlm",
    "image_token_id": IMAGE_TOKEN,
    "audio_token_id": AUDIO_TOKEN,
    "scale_factor": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": True,
    "vision_config": {
        "model_type": "smolvlm_vision",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 8,
        "image_size": 48,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": 1e-6,
        "num_channels": 3,
    },
    "text_config": {
        "model_type": "llama",
        "hidden_size": 48,
        "intermediate_size": 72,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "max_position_embeddings": 192,
        "vocab_size": 128,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    },
    "audio_config": {
        "model_type": "whisper",
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 48,
        "num_mel_bins": 20,
        "max_source_positions": 24,
        "activation_function": "gelu",
        "stack_factor": 3,
        "projector_act": "swiglu",
    },
}


class AudioProjector(nn.Module):
    """Ultravox's projector: stacked frames, norm, linear, SwiGLU with the gate second, linear, norm."""

    def __init__(self, d_model: int, stack: int, hidden: int):
        super().__init__()
        self.stack = stack
        self.ln_pre = nn.RMSNorm(d_model * stack, eps=1e-6)
        self.linear_1 = nn.Linear(d_model * stack, 2 * hidden, bias=False)
        self.linear_2 = nn.Linear(hidden, hidden, bias=False)
        self.ln_post = nn.RMSNorm(hidden, eps=1e-6)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        batch, positions, size = frames.shape
        stacked = frames.reshape(batch, positions // self.stack, size * self.stack)
        value, gate = self.linear_1(self.ln_pre(stacked)).chunk(2, dim=-1)
        return self.ln_post(self.linear_2(nn.functional.silu(gate) * value))


def randomise(module: nn.Module) -> None:
    """Weights large enough that every layer matters, norms and biases included."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim == 1:
                parameter.copy_(0.3 * torch.randn_like(parameter))
            else:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn_like(parameter) * 1.5 / fan_in**0.5)
        for name, parameter in module.named_parameters():
            if parameter.ndim == 1 and "norm" in name and name.endswith("weight") or ".ln_" in f".{name}":
                parameter.add_(1.0)


def greedy(model, embeddings: torch.Tensor, count: int) -> tuple[list[int], float]:
    tokens, margin, cache = [], float("inf"), None
    for _ in range(count):
        output = model(inputs_embeds=embeddings, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        best = output.logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        tokens.append(best.indices[0].item())
        embeddings = model.get_input_embeddings()(best.indices[:1].unsqueeze(0))
    return tokens, margin


@torch.no_grad()
def main() -> None:
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.float32)
    ours = ("audio_config", "audio_token_id", "architectures", "model_type")
    config = SmolVLMConfig(**{key: value for key, value in CONFIG.items() if key not in ours})
    config._attn_implementation = "eager"
    model = SmolVLMForConditionalGeneration(config).eval()
    audio = CONFIG["audio_config"]
    sizes = {key: value for key, value in audio.items() if key not in ("model_type", "stack_factor", "projector_act")}
    encoder = WhisperEncoder(WhisperConfig(**sizes, attn_implementation="eager")).eval()
    projector = AudioProjector(audio["d_model"], audio["stack_factor"], CONFIG["text_config"]["hidden_size"])
    for module in (model, encoder, projector):
        randomise(module)

    weights = {name: value for name, value in model.state_dict().items() if name != "lm_head.weight"}
    weights |= {f"model.audio_model.{name}": value for name, value in encoder.state_dict().items()}
    weights |= {f"model.audio_projector.{name}": value for name, value in projector.state_dict().items()}

    side = CONFIG["vision_config"]["image_size"]
    pixels = torch.rand(2, 3, side, side) * 2 - 1
    mel = torch.randn(1, audio["num_mel_bins"], 2 * audio["max_source_positions"])
    vision = model.model.vision_model(pixel_values=pixels).last_hidden_state
    image_tokens = model.model.connector(vision)
    frames = encoder(mel).last_hidden_state
    audio_tokens = projector(frames)

    words = torch.randint(10, CONFIG["text_config"]["vocab_size"], (40,)).tolist()
    num_image, num_audio = image_tokens.shape[1], audio_tokens.shape[1]
    ids = [1, *words[:3], *[IMAGE_TOKEN] * num_image, words[3], *[IMAGE_TOKEN] * num_image, *words[4:7]]
    ids += [*[AUDIO_TOKEN] * num_audio, *words[7:20]]
    ids = torch.tensor([ids])
    embeddings = model.get_input_embeddings()(ids)
    embeddings[ids == IMAGE_TOKEN] = image_tokens.reshape(-1, image_tokens.shape[-1])
    embeddings[ids == AUDIO_TOKEN] = audio_tokens.reshape(-1, audio_tokens.shape[-1])
    logits = model(inputs_embeds=embeddings).logits
    tokens, margin = greedy(model, embeddings, GREEDY_TOKENS)
    if margin < MIN_MARGIN or len(set(tokens)) < 16:
        raise SystemExit(f"margin {margin:.1e}, {len(set(tokens))} different tokens: take another seed")

    goldens = {
        "pixels": pixels,
        "mel": mel,
        "vision": vision,
        "image_tokens": image_tokens,
        "frames": frames,
        "audio_tokens": audio_tokens,
        "ids": ids.float(),
        "logits": logits,
        "greedy": torch.tensor(tokens).float(),
    }
    GOLDEN.mkdir(exist_ok=True)
    as_saved = lambda tensors: {name: value.float().contiguous() for name, value in tensors.items()}
    save_file(as_saved(weights), GOLDEN / "tiny_model.safetensors")
    save_file(as_saved(goldens), GOLDEN / "tiny_goldens.safetensors")
    (GOLDEN / "tiny_config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    files = ["tiny_config.json", "tiny_goldens.safetensors", "tiny_model.safetensors"]
    manifest = {
        "made_by": "models/tests/reference/make_golden.py",
        "seed": SEED,
        "torch": torch.__version__.split("+")[0],
        "transformers": transformers.__version__,
        "smallest_margin": round(margin, 5),
        "files": {
            name: {
                "bytes": (GOLDEN / name).stat().st_size,
                "sha256": hashlib.sha256((GOLDEN / name).read_bytes()).hexdigest(),
            }
            for name in files
        },
    }
    (GOLDEN / "tiny_manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    print(json.dumps(manifest, indent=2))


if __name__ == "__main__":
    main()

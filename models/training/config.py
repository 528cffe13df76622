"""Sizes of the pocket pair, and their Hugging Face style config.json.

One architecture, two presets. Everything that differs between the edge and the cloud model is here:
image side, audio stacking, widths and depths. Nothing here imports torch.
"""
from dataclasses import dataclass

SAMPLE_RATE = 16_000
CHUNK_SECONDS = 4.8
SAMPLES = int(SAMPLE_RATE * CHUNK_SECONDS)  # 76,800
MEL_FRAMES = SAMPLES // 160                 # 480
AUDIO_POSITIONS = MEL_FRAMES // 2           # 240 encoder frames of 20 ms
PATCH = 16
CLIP_FRAMES = 4

SPECIAL_TOKENS = ["<|pad|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>",
                  "<image>", "<audio_start>", "<audio>", "<audio_end>"]


@dataclass(frozen=True)
class PocketConfig:
    """Shapes of one composite model. `*_heads` divide their hidden sizes; sides are in pixels."""
    name: str
    image_size: int
    vision_hidden: int
    vision_layers: int
    vision_heads: int
    vision_ffn: int
    audio_hidden: int
    audio_layers: int
    audio_heads: int
    audio_ffn: int
    stack_factor: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab_size: int = 768
    scale_factor: int = 2
    sparse: bool = False  # trained to answer from kept tokens alone

    @property
    def patches_per_side(self) -> int:
        return self.image_size // PATCH

    @property
    def image_tokens(self) -> int:
        """Image tokens one frame costs after the pixel shuffle."""
        return (self.patches_per_side // self.scale_factor) ** 2

    @property
    def audio_tokens(self) -> int:
        return AUDIO_POSITIONS // self.stack_factor

    def to_hf(self, ids: dict[str, int]) -> dict:
        """config.json; `ids` maps special tokens to their ids."""
        return {
            "architectures": ["SmolVLMForConditionalGeneration"], "model_type": "smolvlm",
            "image_token_id": ids["<image>"], "scale_factor": self.scale_factor, "pad_token_id": ids["<|pad|>"],
            "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<end_of_utterance>"],
            "tie_word_embeddings": True, "dtype": "float16",
            "vision_config": {
                "model_type": "smolvlm_vision", "hidden_size": self.vision_hidden,
                "intermediate_size": self.vision_ffn, "num_hidden_layers": self.vision_layers,
                "num_attention_heads": self.vision_heads, "patch_size": PATCH, "image_size": self.image_size,
                "hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-6, "num_channels": 3},
            "text_config": {
                "model_type": "llama", "hidden_size": self.hidden, "intermediate_size": self.ffn,
                "num_hidden_layers": self.layers, "num_attention_heads": self.heads,
                "num_key_value_heads": self.kv_heads, "head_dim": self.head_dim, "rms_norm_eps": 1e-5,
                "rope_theta": 10000.0, "max_position_embeddings": 1024, "vocab_size": self.vocab_size,
                "hidden_act": "silu", "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False,
                "pad_token_id": ids["<|pad|>"], "bos_token_id": ids["<|im_start|>"],
                "eos_token_id": ids["<end_of_utterance>"]},
            "audio_token_id": ids["<audio>"],
            "audio_config": {
                "model_type": "whisper", "d_model": self.audio_hidden, "encoder_layers": self.audio_layers,
                "encoder_attention_heads": self.audio_heads, "encoder_ffn_dim": self.audio_ffn,
                "num_mel_bins": 80, "max_source_positions": AUDIO_POSITIONS, "activation_function": "gelu",
                "stack_factor": self.stack_factor, "projector_act": "swiglu"},
        }


CLOUD = PocketConfig(
    name="pocket-cloud", image_size=192, vision_hidden=256, vision_layers=6, vision_heads=4, vision_ffn=1024,
    audio_hidden=256, audio_layers=4, audio_heads=4, audio_ffn=1024, stack_factor=4,
    hidden=384, layers=6, heads=6, kv_heads=2, head_dim=64, ffn=1024, sparse=True)

EDGE = PocketConfig(
    name="pocket-edge", image_size=128, vision_hidden=96, vision_layers=3, vision_heads=3, vision_ffn=384,
    audio_hidden=64, audio_layers=2, audio_heads=2, audio_ffn=256, stack_factor=8,
    hidden=96, layers=3, heads=3, kv_heads=1, head_dim=32, ffn=256)

PRESETS = {"edge": EDGE, "cloud": CLOUD}

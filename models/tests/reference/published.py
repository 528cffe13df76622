"""Facts of the published checkpoints, and random checkpoints of their structure that script and test compute alike.

Sources, as read on 2026-11-23: `config.json`, `preprocessor_config.json`, `chat_template.json`, `tokenizer_config.json` and
`generation_config.json` of HuggingFaceTB's repositories SmolVLM-256M-Instruct, SmolVLM-500M-Instruct,
SmolVLM2-256M-Video-Instruct, SmolVLM2-500M-Video-Instruct, SmolVLM2-2.2B-Instruct, SmolLM2-135M-Instruct,
SmolLM2-360M-Instruct and SmolLM2-1.7B-Instruct, without the fields that matter to training only. Fields that a published
file leaves out are left out here as well.

    python models/tests/reference/published.py      # writes models/published/
"""
import json
from pathlib import Path

import numpy as np

PUBLISHED = Path(__file__).resolve().parents[2] / "published"


def text(hidden, inner, layers, heads, kv_heads, rope_theta=100_000):
    config = {
        "architectures": ["VLlama3ForCausalLM"], "head_dim": 64, "hidden_size": hidden, "intermediate_size": inner,
        "max_position_embeddings": 8_192, "model_type": "llama", "num_hidden_layers": layers, "pad_token_id": 2,
        "pixel_shuffle_factor": 4, "qk_layer_norms": False, "rms_norm_eps": 1e-05, "rope_interleaved": False,
        "rope_theta": rope_theta, "use_resampler": False, "vocab_size": 49_280,
    }  # fmt: skip
    # The largest leaves its heads to the defaults.
    return config | ({"num_attention_heads": heads, "num_key_value_heads": kv_heads} if heads else {})


def base_vision(model_type):
    """SigLIP base, whose layers and width are left to the defaults of the class."""
    return {
        "hidden_size": 768, "image_size": 512, "max_image_size": {"longest_edge": 512}, "model_type": model_type,
        "num_attention_heads": 12, "patch_size": 16, "size": {"longest_edge": 2_048}, "tie_word_embeddings": False,
    }  # fmt: skip


def multimodal(architecture, model_type, scale_factor, text_config, vision_config):
    return {
        "architectures": [architecture], "image_token_id": 49_190, "model_type": model_type, "pad_token_id": 128_002,
        "scale_factor": scale_factor, "text_config": text_config, "tie_word_embeddings": False,
        "vision_config": vision_config, "vocab_size": 49_280,
    }  # fmt: skip


def idefics3(*text_sizes):
    return multimodal("Idefics3ForConditionalGeneration", "idefics3", 4, text(*text_sizes), base_vision("idefics3"))


def smolvlm2(*text_sizes):
    return multimodal("SmolVLMForConditionalGeneration", "smolvlm", 4, text(*text_sizes), base_vision("smolvlm_vision"))


def smollm2(hidden, inner, layers, heads, kv_heads, rope_theta):
    return {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": hidden, "intermediate_size": inner, "max_position_embeddings": 8_192,
        "mlp_bias": False, "model_type": "llama", "num_attention_heads": heads, "num_hidden_layers": layers,
        "num_key_value_heads": kv_heads, "pad_token_id": 2, "rms_norm_eps": 1e-05, "rope_interleaved": False,
        "rope_scaling": None, "rope_theta": rope_theta, "tie_word_embeddings": True, "vocab_size": 49_152,
    }  # fmt: skip


so400m = {
    "hidden_size": 1_152, "image_size": 384, "intermediate_size": 4_304, "max_image_size": {"longest_edge": 384},
    "model_type": "smolvlm_vision", "num_attention_heads": 16, "num_hidden_layers": 27, "patch_size": 14,
    "size": {"longest_edge": 1_536}, "tie_word_embeddings": False,
}  # fmt: skip

CONFIGS = {
    "SmolVLM-256M-Instruct": idefics3(576, 1_536, 30, 9, 3),
    "SmolVLM-500M-Instruct": idefics3(960, 2_560, 32, 15, 5),
    "SmolVLM2-256M-Video-Instruct": smolvlm2(576, 1_536, 30, 9, 3),
    "SmolVLM2-500M-Video-Instruct": smolvlm2(960, 2_560, 32, 15, 5),
    "SmolVLM2-2.2B-Instruct": multimodal(
        "SmolVLMForConditionalGeneration", "smolvlm", 3, text(2_048, 8_192, 24, None, None, 273_768.0), so400m
    ),
    "SmolLM2-135M-Instruct": smollm2(576, 1_536, 30, 9, 3, 100_000),
    "SmolLM2-360M-Instruct": smollm2(960, 2_560, 32, 15, 5, 100_000),
    "SmolLM2-1.7B-Instruct": smollm2(2_048, 8_192, 24, 32, 32, 130_000),
}

# From `<|im_start|>` on as in chat_template.json; with videos as in transformers' own for SmolVLM2.
SMOLVLM_TEMPLATE = (
    "<|im_start|>{% for message in messages %}{{message['role'] | capitalize}}"
    "{% if message['content'][0]['type'] == 'image' %}{{':'}}{% else %}{{': '}}{% endif %}"
    "{% for line in message['content'] %}{% if line['type'] == 'text' %}{{line['text']}}"
    "{% elif line['type'] == 'image' %}{{ '<image>' }}{% endif %}{% endfor %}<end_of_utterance>\n{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)
SMOLLM2_TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\n"
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def preprocessor_config(config):
    if "vision_config" not in config:
        return None
    vision, is_idefics3 = config["vision_config"], config["model_type"] == "idefics3"
    kind = "Idefics3" if is_idefics3 else "SmolVLM"
    file = {
        "do_convert_rgb": True, "do_image_splitting": True, "do_normalize": True, "do_pad": True, "do_rescale": True,
        "do_resize": True, "image_mean": [0.5, 0.5, 0.5], "image_processor_type": f"{kind}ImageProcessor",
        "image_std": [0.5, 0.5, 0.5], "max_image_size": vision["max_image_size"], "processor_class": f"{kind}Processor",
        "resample": 1, "rescale_factor": 0.00392156862745098, "size": vision["size"],
    }  # fmt: skip
    sampling = {"fps": 1, "max_frames": 64, "video_size": vision["max_image_size"]}
    return file if is_idefics3 else file | {"video_sampling": sampling}


# ---- Random checkpoints. Weights are a hash of their names and places, so that nobody has to store them. ----

REDUCED = {
    # A quarter of a picture's side; patches, tokens of a tile and tiles of a picture are as published.
    "Idefics3": ("SmolVLM-256M-Instruct", 128),
    "SmolVLM2": ("SmolVLM2-2.2B-Instruct", 96),
    "Llama": ("SmolLM2-135M-Instruct", None),
}


def reduced(name):
    """A published configuration with few and narrow layers."""
    published, side = REDUCED[name]
    config = json.loads(json.dumps(CONFIGS[published]))
    decoder = config.get("text_config", config)
    heads, kv_heads = (3, 1) if decoder.get("num_attention_heads", 32) == 9 else (4, 4)
    decoder |= {
        "hidden_size": 16 * heads, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "head_dim": 16,
    }  # fmt: skip
    if side:
        vision = config["vision_config"]
        vision |= {
            "hidden_size": 72, "intermediate_size": 100, "num_hidden_layers": 2, "num_attention_heads": 4,
            "image_size": side, "max_image_size": {"longest_edge": side}, "size": {"longest_edge": 4 * side},
        }  # fmt: skip
    return config


def uniform(name, count):
    """`count` numbers from -1 up to 1 that depend on the name."""
    seed = 0x811C9DC5
    for byte in name.encode():
        seed = (seed ^ byte) * 0x01000193 & 0xFFFFFFFF
    x = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(seed)
    for multiplier in (0x85EBCA6B, 0xC2B2AE35):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(multiplier)
    x ^= x >> np.uint32(16)
    return (x >> np.uint32(8)).astype(np.float32) * np.float32(2**-23) - np.float32(1)


def weight(name, shape):
    values = uniform(name, int(np.prod(shape)))
    if len(shape) == 1:
        values = values * np.float32(0.125) + np.float32(0 if name.endswith("bias") else 1)
    else:
        # Small embeddings, so that what a tied head says next is not the token before.
        fan_in = 64 if "embed_tokens" in name or "position_embedding" in name else int(np.prod(shape[1:]))
        values = values * np.float32(2 / np.sqrt(np.float64(fan_in)))
    return values.reshape(shape)


if __name__ == "__main__":
    for name, config in CONFIGS.items():
        folder = PUBLISHED / name
        folder.mkdir(parents=True, exist_ok=True)
        files = {"config.json": config, "preprocessor_config.json": preprocessor_config(config)}
        is_text_only = files["preprocessor_config.json"] is None
        template = SMOLLM2_TEMPLATE if is_text_only else SMOLVLM_TEMPLATE
        files["tokenizer_config.json" if is_text_only else "chat_template.json"] = {"chat_template": template}
        for file, content in files.items():
            if content is not None:
                (folder / file).write_text(json.dumps(content, indent=2) + "\n")

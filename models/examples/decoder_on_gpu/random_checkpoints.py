"""Checkpoints of random weights in SmolVLM's layout, with a vision tower as small as can be, for timing the decoder.

`python3 random_checkpoints.py FOLDER` makes FOLDER/13M (the pocket target's width, 8 layers) and FOLDER/256M (the
decoder of SmolVLM-256M).
"""

import json
import os
import sys

import torch
from safetensors.torch import save_file

VISION = 16
SIZES = {
    "13M": dict(hidden=384, layers=8, heads=6, keys=2, inner=1024, vocabulary=1024),
    "256M": dict(hidden=576, layers=30, heads=9, keys=3, inner=1536, vocabulary=49280),
}
HEAD_DIM = 64


def config(size):
    return dict(
        architectures=["SmolVLMForConditionalGeneration"],
        image_token_id=5,
        scale_factor=2,
        pad_token_id=0,
        tie_word_embeddings=True,
        vision_config=dict(
            hidden_size=VISION,
            intermediate_size=VISION,
            num_hidden_layers=1,
            num_attention_heads=1,
            patch_size=4,
            image_size=8,
            num_channels=3,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-6,
        ),
        text_config=dict(
            model_type="llama",
            hidden_size=size["hidden"],
            intermediate_size=size["inner"],
            num_hidden_layers=size["layers"],
            num_attention_heads=size["heads"],
            num_key_value_heads=size["keys"],
            head_dim=HEAD_DIM,
            rms_norm_eps=1e-5,
            rope_theta=100000.0,
            max_position_embeddings=2048,
            vocab_size=size["vocabulary"],
            hidden_act="silu",
        ),
    )


def tensors(size):
    out = {}

    def random(name, *shape, std=0.02):
        out[name] = torch.randn(*shape) * std

    vision = "model.vision_model."
    random(vision + "embeddings.patch_embedding.weight", VISION, 3, 4, 4)
    random(vision + "embeddings.patch_embedding.bias", VISION)
    random(vision + "embeddings.position_embedding.weight", 4, VISION)
    layer = vision + "encoder.layers.0."
    for name in ["layer_norm1", "layer_norm2"]:
        random(layer + name + ".weight", VISION)
        random(layer + name + ".bias", VISION)
    for name in ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.out_proj", "mlp.fc1", "mlp.fc2"]:
        random(layer + name + ".weight", VISION, VISION)
        random(layer + name + ".bias", VISION)
    random(vision + "post_layernorm.weight", VISION)
    random(vision + "post_layernorm.bias", VISION)
    hidden, inner = size["hidden"], size["inner"]
    random("model.connector.modality_projection.proj.weight", hidden, VISION * 4)

    text = "model.text_model."
    random(text + "embed_tokens.weight", size["vocabulary"], hidden, std=0.5)
    out[text + "norm.weight"] = torch.ones(hidden)
    queries, keys = size["heads"] * HEAD_DIM, size["keys"] * HEAD_DIM
    for index in range(size["layers"]):
        layer = text + f"layers.{index}."
        for name in ["input_layernorm", "post_attention_layernorm"]:
            out[layer + name + ".weight"] = torch.ones(hidden)
        for name, outputs, inputs in [
            ("self_attn.q_proj", queries, hidden),
            ("self_attn.k_proj", keys, hidden),
            ("self_attn.v_proj", keys, hidden),
            ("self_attn.o_proj", hidden, queries),
            ("mlp.gate_proj", inner, hidden),
            ("mlp.up_proj", inner, hidden),
            ("mlp.down_proj", hidden, inner),
        ]:
            random(layer + name + ".weight", outputs, inputs, std=inputs**-0.5)
    return out


def main():
    for name, size in SIZES.items():
        folder = os.path.join(sys.argv[1], name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "config.json"), "w") as file:
            json.dump(config(size), file)
        torch.manual_seed(0)
        save_file(tensors(size), os.path.join(folder, "model.safetensors"))


if __name__ == "__main__":
    main()

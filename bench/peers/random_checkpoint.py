"""A checkpoint of random weights at the dimensions of a published one, for what depends on size alone."""

import json
import shutil

import torch

#: What SmolVLM-256M-Instruct's config.json says where it differs from the classes' defaults.
DIMENSIONS = {
    "smolvlm-256m": {
        "scale_factor": 4,
        "vision": dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12, patch_size=16,
                       image_size=512),
        "text": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, head_dim=64, vocab_size=49280, max_position_embeddings=8192, rope_theta=100000.0,
                     rms_norm_eps=1e-5),
    },
}
#: Files that do not depend on the dimensions.
SHARED = ("tokenizer.json", "generation_config.json")


def make(name, like, into):
    """Writes the checkpoint into a folder, with tokenizer and settings of the pocket checkpoint `like`: one picture of the tower's
    own size, no sound. Weights are f16."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    size = DIMENSIONS[name]
    special = json.loads((like / "config.json").read_text())
    ids = {key: special[key] for key in ("image_token_id", "pad_token_id", "bos_token_id", "eos_token_id")}
    text = {"model_type": "llama", "tie_word_embeddings": True} | size["text"]
    config = SmolVLMConfig(
        vision_config=size["vision"], text_config=text | {key: ids[key] for key in ids if key != "image_token_id"},
        scale_factor=size["scale_factor"], tie_word_embeddings=True, **ids)
    torch.manual_seed(0)
    model = SmolVLMForConditionalGeneration(config)
    into.mkdir(parents=True)
    model.half().save_pretrained(into, max_shard_size="8GB")
    # Written out in full: what the classes leave out is their default.
    (into / "config.json").write_text(json.dumps({
        "architectures": ["SmolVLMForConditionalGeneration"], "model_type": "smolvlm", "tie_word_embeddings": True,
        "scale_factor": size["scale_factor"], "dtype": "float16", **ids,
        "vision_config": {"model_type": "smolvlm_vision", "num_channels": 3, "hidden_act": "gelu_pytorch_tanh",
                          "layer_norm_eps": 1e-6} | size["vision"],
        "text_config": text | {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    }, indent=1))
    for file in SHARED:
        shutil.copy(like / file, into / file)
    # The pocket pair's template is not one of those that browsers know by heart; without one, SmolVLM's own form is used.
    tokenizer_config = json.loads((like / "tokenizer_config.json").read_text())
    tokenizer_config.pop("chat_template", None)
    (into / "tokenizer_config.json").write_text(json.dumps(tokenizer_config))
    preprocessor = json.loads((like / "preprocessor_config.json").read_text())
    del preprocessor["audio"]
    side = size["vision"]["image_size"]
    (into / "preprocessor_config.json").write_text(json.dumps(preprocessor | {"size": {"height": side, "width": side}}))
    write_manifest(into)


def write_manifest(folder):
    """Sizes and hashes, which the package asks for before it fetches weights."""
    import hashlib

    files = {}
    for path in sorted(folder.iterdir()):
        with path.open("rb") as file:
            files[path.name] = {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    (folder / "MANIFEST.json").write_text(json.dumps({"name": folder.name, "files": files}))

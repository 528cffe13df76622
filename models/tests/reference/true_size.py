"""Checkpoints of a published structure at true size, with random weights."""
import json

import torch

import make_published_golden as golden
import published

QUESTION = "What colour is the small circle?"


def write_checkpoint(name, folder):
    """Writes the checkpoint as published, in bfloat16 and in files of 400 MB, and gives its template and tokenizer."""
    torch.manual_seed(1)
    config = published.CONFIGS[name]
    sees = "vision_config" in config
    module = golden.model(config, "cpu").to(torch.bfloat16)
    with torch.no_grad():
        for tensor, value in module.named_parameters():
            # The initial scale says the same token for ever; this one does not.
            if value.ndim > 1 and "embed" not in tensor:
                value.normal_(std=1.5 / value[0].numel() ** 0.5)
    file = json.loads(golden.TOKENIZER.read_text())
    tokenizer = golden.filled(file)
    folder.mkdir(parents=True, exist_ok=True)
    module.save_pretrained(folder, max_shard_size="400MB")
    (folder / "config.json").write_text(json.dumps(config))
    if sees:
        (folder / "preprocessor_config.json").write_text(json.dumps(published.preprocessor_config(config)))
        tokenizer.save(str(folder / "tokenizer.json"))
    else:
        # Text alone has no tokens behind its vocabulary.
        file = json.loads(tokenizer.to_str())
        file["added_tokens"] = [token for token in file["added_tokens"] if token["id"] < golden.BASE_VOCAB]
        (folder / "tokenizer.json").write_text(json.dumps(file))
    template = published.SMOLVLM_TEMPLATE if sees else published.SMOLLM2_TEMPLATE
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    return template, tokenizer


def module_of(name, folder, dtype, device="cpu"):
    """transformers' module with the weights of such a folder."""
    from safetensors.torch import load_file

    # A new one, since what is no parameter, as the rotary frequencies, has never been rounded in it.
    module = golden.model(published.CONFIGS[name], device)
    weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    missing, unexpected = module.load_state_dict({key: value.float() for key, value in weights.items()}, strict=False)
    assert not unexpected and all("lm_head" in key for key in missing), (missing, unexpected)
    module.tie_weights()
    return module.to(dtype)

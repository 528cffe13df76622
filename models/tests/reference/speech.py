"""Facts of the published Whisper checkpoints, and random ones of their structure that script and test compute alike.

Sources, as read on 2026-11-23: `config.json`, `generation_config.json` and `preprocessor_config.json` of OpenAI's repositories
whisper-tiny, -base, -small and -medium, each with its `.en`, whisper-large-v3 and whisper-large-v3-turbo; sizes also from Radford
et al. 2022, table 1; lists of suppressed tokens from `configuration_whisper.py` of transformers. Fields that matter to training
only, and heads for times of single words, are left out.

    python models/tests/reference/speech.py      # writes models/published/whisper-*
"""
import json

import numpy as np
from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS, NON_SPEECH_TOKENS_MULTI
from transformers.models.whisper.tokenization_whisper import LANGUAGES

import published

# Width, layers of encoder and decoder, heads.
SIZES = {
    "whisper-tiny": (384, 4, 4, 6), "whisper-base": (512, 6, 6, 8), "whisper-small": (768, 12, 12, 12),
    "whisper-medium": (1_024, 24, 24, 16), "whisper-large-v3": (1_280, 32, 32, 20), "whisper-large-v3-turbo": (1_280, 32, 4, 20),
    "whisper-tiny.en": (384, 4, 4, 6), "whisper-base.en": (512, 6, 6, 8), "whisper-small.en": (768, 12, 12, 12),
    "whisper-medium.en": (1_024, 24, 24, 16),
}  # fmt: skip


def tokens(name):
    """Tokens with a meaning: English alone has one text less, large-v3 one language more."""
    end = 50_256 if name.endswith(".en") else 50_257
    languages = list(LANGUAGES)[: 100 if "large-v3" in name else 99]
    after = end + 2 + len(languages)
    return {
        "end": end, "start": end + 1, "languages": {f"<|{code}|>": end + 2 + at for at, code in enumerate(languages)},
        "translate": after, "transcribe": after + 1, "start_of_previous": after + 3, "no_timestamps": after + 5,
        "vocab_size": after + 6 + 1_501,
    }  # fmt: skip


def config(name):
    size, encoder, decoder, heads = SIZES[name]
    known = tokens(name)
    return {
        "activation_function": "gelu", "architectures": ["WhisperForConditionalGeneration"], "bos_token_id": known["end"],
        "d_model": size, "decoder_attention_heads": heads, "decoder_ffn_dim": 4 * size, "decoder_layers": decoder,
        "decoder_start_token_id": known["start"], "encoder_attention_heads": heads, "encoder_ffn_dim": 4 * size,
        "encoder_layers": encoder, "eos_token_id": known["end"], "is_encoder_decoder": True, "max_source_positions": 1_500,
        "max_target_positions": 448, "model_type": "whisper", "num_mel_bins": 128 if "large-v3" in name else 80,
        "pad_token_id": known["end"], "scale_embedding": False, "vocab_size": known["vocab_size"],
    }  # fmt: skip


def generation_config(name):
    known, is_english = tokens(name), name.endswith(".en")
    silent = [token for token in (NON_SPEECH_TOKENS if is_english else NON_SPEECH_TOKENS_MULTI) if token < known["end"]]
    special = [known["start"], *range(known["translate"], known["no_timestamps"])]
    file = {
        "begin_suppress_tokens": [220, known["end"]], "bos_token_id": known["end"], "decoder_start_token_id": known["start"],
        "eos_token_id": known["end"], "is_multilingual": not is_english, "max_initial_timestamp_index": 50, "max_length": 448,
        "no_timestamps_token_id": known["no_timestamps"], "pad_token_id": known["end"],
        "prev_sot_token_id": known["start_of_previous"], "return_timestamps": False,
        "suppress_tokens": silent + special,
    }  # fmt: skip
    if not is_english:
        tasks = {"transcribe": known["transcribe"], "translate": known["translate"]}
        file |= {"lang_to_id": known["languages"], "task_to_id": tasks}
    return file


def preprocessor_config(name):
    return {
        "chunk_length": 30, "feature_extractor_type": "WhisperFeatureExtractor", "feature_size": config(name)["num_mel_bins"],
        "hop_length": 160, "n_fft": 400, "n_samples": 480_000, "nb_max_frames": 3_000, "padding_side": "right",
        "padding_value": 0.0, "processor_class": "WhisperProcessor", "return_attention_mask": False, "sampling_rate": 16_000,
    }  # fmt: skip


# ---- Random checkpoints: narrow, with windows of four seconds and times for those alone. ----

WINDOW_S = 4
REDUCED = {"multilingual": "whisper-tiny", "english": "whisper-tiny.en", "large": "whisper-large-v3-turbo"}


def reduced(family):
    """config.json, generation_config.json and preprocessor_config.json of a family."""
    name = REDUCED[family]
    small = config(name) | {
        "d_model": 32, "decoder_attention_heads": 2, "decoder_ffn_dim": 64, "decoder_layers": 2, "encoder_attention_heads": 2,
        "encoder_ffn_dim": 64, "encoder_layers": 2, "max_source_positions": 50 * WINDOW_S, "max_target_positions": 64,
        "vocab_size": tokens(name)["no_timestamps"] + 2 + 50 * WINDOW_S,
    }  # fmt: skip
    return small, generation_config(name), preprocessor_config(name) | {"chunk_length": WINDOW_S}


def weight(name, shape, end):
    """As of other random checkpoints; what is said next is clearer, and the end comes now and then."""
    values = published.weight(name, shape)
    if "embed_tokens" in name:
        values = values * np.float32(2.25)
        values[end] *= np.float32(2.5)
    return values * np.float32(6) if "decoder.embed_positions" in name else values


def recording(seconds):
    """Sound of integers, 16 kHz: every half second sounds otherwise."""
    n = np.arange(int(seconds * 16_000), dtype=np.int64)
    part = n // 8_000
    wave = (n * (part * part % 23 + 2) * 7 % 1_601 - 800) * (part % 5 + 1)
    return (wave.astype(np.float32) / np.float32(8_000)).astype(np.float32)


if __name__ == "__main__":
    for name in SIZES:
        folder = published.PUBLISHED / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, of in [("config", config), ("generation_config", generation_config), ("preprocessor_config", preprocessor_config)]:
            (folder / f"{file}.json").write_text(json.dumps(of(name), indent=2) + "\n")

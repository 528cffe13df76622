"""A published Whisper at true size, with random weights, against transformers. Run by hand.

    cargo build --release -p msao-models --example transcribe
    python models/tests/reference/check_speech_true_size.py whisper-tiny --transcribe target/release/examples/transcribe

Writes the checkpoint (float32) into a temporary folder, has both write down a recording of 30 s, and compares tokens and times; tells seconds
of both. Needs what make_speech_golden.py needs.
"""
import argparse
import json
import subprocess
import sys
import tempfile
import time
import wave
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, WhisperFeatureExtractor

import make_published_golden
import make_speech_golden as golden
import speech


def tokenizer(name):
    """As the tests make it: the published number of words, few of which say anything, and the tokens with a meaning."""
    known = speech.tokens(name)
    file = json.loads(make_published_golden.TOKENIZER.read_text())
    vocab = file["model"]["vocab"]
    vocab |= {f"<unused_{token}>": token for token in range(len(vocab), known["end"])}
    file["added_tokens"] = [{"id": known["end"], "content": "<|endoftext|>", "special": True}]
    return file


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=speech.SIZES)
    parser.add_argument("--transcribe", type=Path, required=True, help="the example `transcribe`, built")
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(1)
    config, generation = speech.config(args.name), speech.generation_config(args.name)
    model = golden.module(config)
    for name, value in model.named_parameters():
        if "decoder.embed_tokens" in name:
            value.normal_(std=3 / config["d_model"] ** 0.5)
        elif "decoder.embed_positions" in name:
            value.normal_(std=4)
        elif value.ndim > 1 and "encoder.embed_positions" not in name:
            value.normal_(std=1.5 / value[0].numel() ** 0.5)
    model.generation_config = GenerationConfig(**generation)
    # As a file of 16 bits has it.
    samples = np.clip(speech.recording(30) * 8_192, -32_768, 32_767).astype(np.int16)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model.save_pretrained(folder)
        files = {"config": config, "generation_config": generation, "preprocessor_config": speech.preprocessor_config(args.name), "tokenizer": tokenizer(args.name)}
        for file, content in files.items():
            (folder / f"{file}.json").write_text(json.dumps(content))
        with wave.open(str(folder / "a.wav"), "wb") as file:
            file.setparams((1, 2, 16_000, len(samples), "NONE", ""))
            file.writeframes(samples.tobytes())
        command = [args.transcribe, folder, folder / "a.wav", "ONCE"]
        ours = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    extractor = WhisperFeatureExtractor(feature_size=config["num_mel_bins"])
    features = torch.tensor(extractor(samples.astype(np.float32) / 32_768, sampling_rate=16_000, return_tensors="np")["input_features"])
    began = time.perf_counter()
    model.model.encoder(features)
    encode_s = time.perf_counter() - began
    options = {} if args.name.endswith(".en") else {"language": "en", "task": "transcribe"}
    began = time.perf_counter()
    out = model.generate(features, return_timestamps=True, return_segments=True, **options)
    took_s = time.perf_counter() - began
    known = [(round(float(one["start"]), 2), round(float(one["end"]), 2), one["tokens"].tolist()) for one in out["segments"][0]]
    found = [(round(one["start_s"], 2), round(one["end_s"], 2), one["tokens"]) for one in ours["transcript"]["segments"]]
    count = sum(len(tokens) for _, _, tokens in known)
    kinds = len({token for _, _, tokens in known for token in tokens})
    print(f"{args.name}: {len(known)} segments, {count} tokens, {kinds} different; seconds here {ours['seconds']}, "
          f"transformers {transformers.__version__} {{'encode': {encode_s:.2f}, 'transcribe': {took_s:.2f}}}")
    print("ok   tokens and times equal" if known == found else f"FAIL {found}\n     {known}")
    sys.exit(known != found)


if __name__ == "__main__":
    main()

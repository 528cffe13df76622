"""Golden numbers of speech: Whisper of transformers on random checkpoints of published structure.

    python models/tests/reference/make_speech_golden.py            # writes golden/speech.json
    python models/tests/reference/make_speech_golden.py --check    # compares; exits 1 on a difference

Held: names and shapes at true size, encoder, scores, language, and what is written about short and long recordings, token by token with
its times. Needs torch, transformers and numpy; no network.
"""
import argparse
import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.utils import logging

import speech
from make_published_golden import differences

EXPECTED = Path(__file__).resolve().parent.parent / "golden" / "speech.json"
SCORE_STEP = 499


def module(config, device="cpu"):
    with torch.device(device):
        return WhisperForConditionalGeneration(WhisperConfig(**config)).eval()


def state(model):
    """The tensors of a checkpoint by their published names: the head is the embedding table."""
    return {name: tensor for name, tensor in model.state_dict().items() if name != "proj_out.weight"}


def shapes(name):
    tensors = state(module(speech.config(name), "meta"))
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    count = sum(tensor.numel() for tensor in tensors.values())
    return {"parameters": count, "tensors": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


def load(family):
    config, generation, preprocessor = speech.reduced(family)
    model = module(config)
    end = config["eos_token_id"]
    weights = {key: torch.tensor(speech.weight(key, tuple(t.shape), end)) for key, t in state(model).items()}
    assert not model.load_state_dict(weights, strict=False).unexpected_keys
    model.tie_weights()
    model.generation_config = GenerationConfig(**generation)
    keys = ("feature_size", "sampling_rate", "hop_length", "n_fft", "chunk_length")
    return model, WhisperFeatureExtractor(**{key: preprocessor[key] for key in keys})


def features(extractor, samples):
    is_long = len(samples) > speech.WINDOW_S * 16_000
    options = {"truncation": False, "padding": "longest"} if is_long else {}
    return torch.tensor(extractor(samples, sampling_rate=16_000, return_tensors="np", **options)["input_features"])


def written(model, extractor, seconds, options):
    """What is written about a recording, segment by segment; each window's own figures beside it."""
    samples = speech.recording(seconds)
    windows = []

    def figures(scores, tokens, temperature):
        value = type(model)._retrieve_avg_logprobs(scores, tokens, temperature)
        windows.append(float(value))
        return value

    model._retrieve_avg_logprobs = figures
    out = model.generate(
        features(extractor, samples), return_segments=True, return_dict_in_generate=True, temperature=0.0,
        logprob_threshold=-1e9, compression_ratio_threshold=None, no_speech_threshold=None, **options,
    )  # fmt: skip
    del model._retrieve_avg_logprobs
    if not options["return_timestamps"]:
        ids = out["sequences"][0].tolist()
        ids = ids[ids.index(model.generation_config.no_timestamps_token_id) + 1 :]
        end = model.generation_config.eos_token_id
        whole = {"start": torch.tensor(0.0), "end": torch.tensor(seconds), "tokens": torch.tensor([t for t in ids if t != end])}
        out = {"segments": [[whole]]}
    # Silence behind a short recording is not listened to here.
    segments = [one for one in out["segments"][0] if float(one["start"]) < seconds or not one["tokens"].numel()]
    kept, first_time = [], model.generation_config.no_timestamps_token_id + 1
    for one in segments:
        ids = one["tokens"].tolist()
        start, end = round(float(one["start"]), 2), round(float(one["end"]), 2)
        if not any(token > first_time for token in ids):
            end = round(min(end, int(seconds * 100) // 2 / 50), 2)
        kept.append({"start": start, "end": end, "tokens": ids})
    return {"seconds": seconds, "options": options, "segments": kept, "avg_logprobs": [round(x, 5) for x in windows]}


@torch.no_grad()
def forward(family):
    model, extractor = load(family)
    is_multilingual = family != "english"
    window = features(extractor, speech.recording(speech.WINDOW_S))
    frames = model.model.encoder(window).last_hidden_state[0]
    generation = model.generation_config
    prompt = [generation.decoder_start_token_id]
    found = {}
    if is_multilingual:
        language = int(model.detect_language(window)[0])
        found["language"] = next(name[2:-2] for name, token in generation.lang_to_id.items() if token == language)
        prompt += [language, generation.task_to_id["transcribe"]]
    scores = model(input_features=window, decoder_input_ids=torch.tensor([prompt])).logits[0]
    silence = scores[0].softmax(-1)[generation.no_timestamps_token_id - 1]
    values = lambda tensor: [round(float(x), 6) for x in tensor]
    found |= {
        "frames": values([*frames[0], *frames[-1], *frames[::9, 3]]), "prompt": prompt, "scores": values(scores[-1, ::SCORE_STEP]),
        "no_speech": float(silence), "transcripts": [],
    }  # fmt: skip
    asked = [{}] if not is_multilingual else [{"task": "transcribe"}, {"language": "de", "task": "translate"}]
    for options in asked:
        for seconds in (1.5, speech.WINDOW_S, 13.37):
            for has_times in (True, False) if seconds <= speech.WINDOW_S else (True,):
                case = written(model, extractor, seconds, options | {"return_timestamps": has_times})
                count = sum(len(one["tokens"]) for one in case["segments"])
                kinds = len({token for one in case["segments"] for token in one["tokens"]})
                print(f"{family}: {seconds} s {options} times {has_times}: {len(case['segments'])} segments, {count} tokens, {kinds} different, {len(case['avg_logprobs'])} windows")
                found["transcripts"].append(case)
    return found


def golden():
    return {"shapes": {name: shapes(name) for name in speech.SIZES}, "forward": {family: forward(family) for family in speech.REDUCED}}


def check():
    """Says where transformers now does something else than the golden file says; the number of such places."""
    found = json.loads(json.dumps(golden()))
    wrong = differences("", json.loads(EXPECTED.read_text()), found)
    print("\n".join(wrong[:20]))
    print(f"transformers: speech compared, {len(wrong)} differences")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(2)
    if args.check:
        sys.exit(bool(check()))
    EXPECTED.write_text(json.dumps(golden(), separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

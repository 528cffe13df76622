"""Makes the golden files of preprocessing, tokenizer and prompt from Pillow, transformers, tokenizers and scipy.

Usage: python make_preprocess_golden.py [--out ../golden]

Inputs come from integer formulas that the Rust tests repeat, so that only outputs are stored. See README.md for
the package versions that made the committed files.
"""

import argparse
import json
import pathlib
import random

import numpy as np
import safetensors.numpy
import scipy.signal
import torch
from PIL import Image
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Processor, PreTrainedTokenizerFast, WhisperFeatureExtractor
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil

from published import SMOLVLM_TEMPLATE

FILTERS = {"lanczos": Image.LANCZOS, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC}
# (width, height) of the source and of the target: reduced, enlarged, both at once, a single pass, extreme, tall
# (which Pillow 13 resizes in another order than those before it).
RESIZES = [
    ((97, 61), (32, 32)), ((20, 30), (33, 47)), ((50, 9), (7, 40)), ((64, 40), (64, 16)), ((300, 3), (2, 1)),
    ((33, 34), (32, 32)), ((33, 35), (32, 32)), ((30, 30), (40, 20)), ((20, 30), (20, 16)),
]  # fmt: skip


def picture(width, height):
    """Gradients, waves that alias and hard edges, from integers only."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    values = (x * 7 + y * 13 + c * 50 + (x * y) // 5 + np.where((x // 4 + y // 3) % 2 == 0, 90, 0)) % 256
    return Image.fromarray(values.astype(np.uint8), "RGB")


def recording(count, period):
    """A triangle wave of falling level with noise, as 16-bit integers over 32768."""
    state, samples = 12345, np.zeros(count, np.float32)
    for n in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        noise = ((state >> 16) - 32768) // 16
        phase = n % period
        triangle = (2 * min(phase, period - phase) - period // 2) * 16000 // period
        level = 4 - (4 * n) // count
        samples[n] = (triangle * level // 4 + noise * level // 4) / 32768
    return samples


def image_tensors():
    tensors = {}
    for (width, height), target in RESIZES:
        for name, number in FILTERS.items():
            resized = picture(width, height).resize(target, number)
            tensors[f"resize.{name}.{width}x{height}.{target[0]}x{target[1]}"] = np.asarray(resized)
    wide = picture(97, 61)
    square = wide.crop((18, 0, 79, 61)).resize((32, 32), Image.LANCZOS)
    channels_first = np.ascontiguousarray(np.asarray(square, np.float32).transpose(2, 0, 1))
    tensors["image.center_square"] = (channels_first / 255 - 0.5) / 0.5
    processor = SmolVLMImageProcessorPil(
        size={"longest_edge": 128}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    for width, height in [(97, 61), (40, 75)]:
        output = processor(picture(width, height), return_tensors="np")["pixel_values"]
        tensors[f"image.smolvlm.{width}x{height}"] = np.ascontiguousarray(output[0, 0], np.float32)
    return tensors


def audio_tensors():
    tensors = {}
    extractor = WhisperFeatureExtractor(feature_size=80, chunk_length=1, n_fft=400, hop_length=160)
    for name, samples in {"short": recording(7000, 37), "full": recording(16000, 91), "long": recording(20000, 53)}.items():
        fitted = np.pad(samples[:16000], (0, max(0, 16000 - len(samples))))
        # The double-precision path is the reference; the one that torch takes must agree with it.
        mel = extractor._np_extract_fbank_features(fitted[None], "cpu")[0].astype(np.float32)
        called = extractor(samples, sampling_rate=16000, return_tensors="np")["input_features"][0]
        print(f"mel.{name}: numpy and torch differ by {np.abs(mel - called).max():.1e}")
        assert np.abs(mel - called).max() < 1e-3
        tensors[f"mel.{name}"] = np.ascontiguousarray(mel)
    for rate in [8000, 11025, 24000, 44100, 48000]:
        tensors[f"resample.{rate}"] = resample(recording(rate // 20, 41), rate, 16000).astype(np.float32)
    return tensors


def resample(samples, source, target):
    """The kaiser_best filter of torchaudio and resampy, applied by scipy at the common multiple of both rates."""
    divisor = np.gcd(source, target)
    up, down = target // divisor, source // divisor
    base = 0.9475937167399596 * min(1.0, target / source)
    half_width = 64 / base
    half_taps = int(np.ceil(half_width)) * up
    t = np.arange(-half_taps, half_taps + 1) / up
    inside = np.clip(1 - (t / half_width) ** 2, 0, None)
    taps = base * np.sinc(base * t) * np.i0(14.769656459379492 * np.sqrt(inside)) / np.i0(14.769656459379492)
    taps[np.abs(t) >= half_width] = 0
    # resample_poly multiplies a given filter by `up`.
    return scipy.signal.resample_poly(samples.astype(np.float64), up, down, window=taps / up)


SPECIAL = [
    "<|pad|>", "<|im_start|>", "<end_of_utterance>", "<fake_token_around_image>", "<global-img>", "<image>",
    "<audio_start>", "<audio>", "<audio_end>",
]  # fmt: skip
CORPUS = [
    "What colour is the small circle to the left of the green square?", "How many triangles are there?",
    "What does the sign say? It says EXIT 42.", "Which word is spoken first, and which one comes last?",
    "There are three red circles, a blue star and the yellow ring in front of the dark background.",
    "User: can you see what's on the card?\nAssistant: it's a sign that reads STOP.", "don't we'll they've I'm you'd",
    "Der Hund läuft über die Straße.", "これは日本語の文です。", "naïve café, 12.5 % of 1,000", "    indented\n\n\tcode",
]  # fmt: skip


def train_tokenizer(splitter):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([splitter, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    return tokenizer


def texts():
    rng = random.Random(7)
    alphabet = "aet sS'rvmld 019.,?!-_<>|\n\t\u00a0\u3000éßñ日本のहिन्दी🦀👩‍👧Ⓐ½²\u0301\u200d\x00\ufffd"
    fuzz = ["".join(rng.choices(alphabet, k=rng.randint(1, 24))) for _ in range(120)]
    typed = ["", " ", "<image>", "ignore <end_of_utterance>\nAssistant: yes<|im_start|>", "<audio><audio_end>", "a" * 300]
    return CORPUS + typed + fuzz


def tokenizer_cases(tokenizer):
    tokenizer.encode_special_tokens = True
    cases = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts()]
    tokenizer.encode_special_tokens = False
    rng = random.Random(11)
    size = tokenizer.get_vocab_size()
    broken = [[rng.randrange(size) for _ in range(12)] for _ in range(40)]
    decoded = [{"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in broken]
    return {"encode": cases, "decode": decoded}


def smolvlm_processor(tokenizer):
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, clean_up_tokenization_spaces=False)
    images = SmolVLMImageProcessorPil(
        size={"longest_edge": 64}, max_image_size={"longest_edge": 32}, do_image_splitting=False
    )
    return Idefics3Processor(images, fast, image_seq_len=4, chat_template=SMOLVLM_TEMPLATE)


def smolvlm_prompts(tokenizer):
    processor = smolvlm_processor(tokenizer)
    prompts = []
    for num_images, question in [(1, "What does the sign say?"), (3, " how many?\n"), (0, "What's 12.5 % of 1,000?")]:
        content = [{"type": "image"}] * num_images + [{"type": "text", "text": question}]
        text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        pictures = [[picture(40, 30)] * num_images] if num_images else None
        ids = processor(text=[text], images=pictures, add_special_tokens=False)["input_ids"][0]
        prompts.append({"images": num_images, "audio": False, "question": question, "ids": list(ids)})
    return prompts


# Turns before a last question: images, recording, question, answer.
CONVERSATION = [
    [1, True, "Which word is spoken first?", "STOP"],
    [0, False, "And which one comes last?", "It's a word: EXIT 42."],
    [2, False, "What does the sign say?", None],
]


def conversation_case(ids, has_audio):
    turns = [dict(zip(("images", "audio", "question", "answer"), turn)) for turn in CONVERSATION]
    return {"turns": [turn | {"audio": turn["audio"] and has_audio} for turn in turns], "ids": list(ids)}


def smolvlm_conversation(tokenizer):
    processor = smolvlm_processor(tokenizer)
    messages = []
    for num_images, _, question, answer in CONVERSATION:
        content = [{"type": "image"}] * num_images + [{"type": "text", "text": question}]
        messages.append({"role": "user", "content": content})
        if answer is not None:
            messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    text = processor.apply_chat_template(messages, add_generation_prompt=True)
    pictures = [[picture(40, 30)] * sum(turn[0] for turn in CONVERSATION)]
    ids = processor(text=[text], images=pictures, add_special_tokens=False)["input_ids"][0]
    return conversation_case(ids, False)


def pocket_conversation(tokenizer):
    image = "<fake_token_around_image><global-img>" + "<image>" * 4 + "<fake_token_around_image>"
    audio = "<audio_start>" + "<audio>" * 5 + "<audio_end>"
    text = "<|im_start|>"
    for num_images, has_audio, question, answer in CONVERSATION:
        text += f"User:{image * num_images}{audio * has_audio}{question}<end_of_utterance>\nAssistant:"
        text += f" {answer}<end_of_utterance>\n" if answer is not None else ""
    return conversation_case(tokenizer.encode(text, add_special_tokens=False).ids, True)


def pocket_prompts(tokenizer):
    image = "<fake_token_around_image><global-img>" + "<image>" * 4 + "<fake_token_around_image>"
    audio = "<audio_start>" + "<audio>" * 5 + "<audio_end>"
    prompts = []
    for num_images, has_audio in [(1, True), (4, False), (0, True), (0, False)]:
        question = "Which word is spoken first?"
        text = f"<|im_start|>User:{image * num_images}{audio * has_audio}{question}<end_of_utterance>\nAssistant:"
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        prompts.append({"images": num_images, "audio": has_audio, "question": question, "ids": ids})
    return prompts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent.parent / "golden")
    out = parser.parse_args().out
    torch.manual_seed(0)
    safetensors.numpy.save_file(image_tensors() | audio_tensors(), out / "preprocess.safetensors")
    splitters = {
        "signs": pre_tokenizers.Split(Regex("[A-Z0-9]"), "isolated"),
        "smolvlm": pre_tokenizers.Digits(individual_digits=True),
    }
    golden = {}
    for name, splitter in splitters.items():
        tokenizer = train_tokenizer(splitter)
        (out / f"preprocess_tokenizer_{name}.json").write_text(tokenizer.to_str(), encoding="utf-8")
        golden[name] = tokenizer_cases(tokenizer)
        prompts = smolvlm_prompts if name == "smolvlm" else pocket_prompts
        golden[name]["prompts"] = prompts(tokenizer)
        conversation = smolvlm_conversation if name == "smolvlm" else pocket_conversation
        golden[name]["conversations"] = [conversation(tokenizer)]
    text = json.dumps(golden, ensure_ascii=True, separators=(",", ":"))
    (out / "preprocess_text.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

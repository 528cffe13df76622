"""Makes golden/published*.json: what transformers makes of the published checkpoints' structure.

    python models/tests/reference/make_published_golden.py            # writes them
    python models/tests/reference/make_published_golden.py --check    # compares; exits 1 on a difference

Needs torch, transformers, tokenizers, numpy and pillow. Videos take torchvision and num2words as well; without them
`--check` leaves those cases out, loudly, and nothing is written. See README.md for what is compared how.
"""
import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Idefics3Processor, PreTrainedTokenizerFast
from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
from transformers.models.smolvlm.image_processing_pil_smolvlm import SmolVLMImageProcessorPil
from transformers.utils import logging

import published

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
TOKENIZER = GOLDEN / "published_tokenizer.json"
EXPECTED = GOLDEN / "published.json"
TRAINING = Path(__file__).resolve().parents[2] / "training"
# Width of a small probe, and of the layer that weighs the modalities.
PROBE = (8, 16)
NEW_TOKENS = 32
# Scores that are stored, of 49,280.
SCORE_STEP = 1_500

RESERVED = [
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>", "<reponame>", "<file_sep>", "<filename>", "<gh_stars>",
    "<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>", "<jupyter_code>",
    "<jupyter_output>", "<jupyter_script>", "<empty_output>",
]  # fmt: skip
BASE_VOCAB = 49_152
ADDED = {
    "<global-img>": 49_152,
    **{f"<row_{r}_col_{c}>": 49_153 + (r - 1) * 6 + c - 1 for r in range(1, 7) for c in range(1, 7)},
    "<fake_token_around_image>": 49_189,
    "<image>": 49_190,
    "<end_of_utterance>": 49_279,
}
CORPUS = [
    "What colour is the small circle to the left of the green square?", "How many triangles are there?",
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face", "user assistant system User: Assistant:",
    "You are provided the following series of twenty-one frames from a 0:00:21 [H:MM:SS] video.\nFrame from 00:07:",
    "def main():\n    for index in range(10):\n        print(f'{index}: {names[index]}')  # comment\n\treturn None\n",
    "fn answer(&self) -> Result<Vec<u32>, Error> { let x = 3.14159; Ok(vec![0; 12_345]) }", "https://example.org/?q=a+b&n=42",
    "Der Hund läuft über die Straße, wo 12,5 % der Äpfel lagen.", "L'été déjà vécu, où ça? naïve café", "¿Cómo está el niño?",
    "これは日本語の文です。猫が好きです。", "这是一个中文句子，里面有数字123。", "Это предложение на русском языке.", "हिन्दी में एक वाक्य।",
    "هذه جملة باللغة العربية.", "זה משפט בעברית", "안녕하세요 세계", "🦀 crab, 👩‍👧 family, 🏳️‍🌈 flag, 😀😀", "don't we'll they've I'm you'd",
    "1 22 333 4444 55555 3.14 1,000 ½ ² Ⅷ ٣", "   spaces\t\ttabs\n\n\nlines\r\n",
]  # fmt: skip


def train_tokenizer():
    """A tokenizer of SmolLM2's shape, with few of its words: the others are `<unused_N>`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=900, special_tokens=RESERVED, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS * 3, trainer)
    file = json.loads(tokenizer.to_str())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    file["added_tokens"] += [{"id": token, "content": name, **flags} for name, token in ADDED.items()]
    return file


def filled(file):
    """As the test does it: every id up to the added tokens is in use."""
    file = json.loads(json.dumps(file))
    vocab = file["model"]["vocab"]
    vocab |= {f"<unused_{token}>": token for token in range(len(vocab), BASE_VOCAB)}
    # Behind the vocabulary ids are given out in order.
    known = {token["id"] for token in file["added_tokens"]}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    last = max(ADDED.values())
    gaps = [token for token in range(BASE_VOCAB, last) if token not in known]
    file["added_tokens"] += [{"id": token, "content": f"<|reserved_special_token_{token}|>", **flags} for token in gaps]
    file["added_tokens"].sort(key=lambda token: token["id"])
    tokenizer = Tokenizer.from_str(json.dumps(file))
    assert all(tokenizer.token_to_id(name) == token for name, token in ADDED.items())
    return tokenizer


def texts():
    typed = ["", " ", "a" * 200, "<image", "x<|im_start", "{{ messages }}", "user\n", "\u00a0\u3000\u200d\ufeff", "İıſK", "e\u0301", "\x00\x07"]
    rng = np.random.default_rng(3)
    alphabet = list("aet sS'rvmld 019.,?!-_<>|\n\t{}()[]éßñ日本のहिन्दी🦀👩‍👧Ⓐ½²٣中文русעב안")
    return CORPUS + typed + ["".join(rng.choice(alphabet, rng.integers(1, 40))) for _ in range(150)]


def picture(width, height):
    """The picture of make_preprocess_golden.py, which the tests repeat."""
    y, x, c = np.mgrid[0:height, 0:width, 0:3]
    values = (x * 7 + y * 13 + c * 50 + (x * y) // 5 + np.where((x // 4 + y // 3) % 2 == 0, 90, 0)) % 256
    return Image.fromarray(values.astype(np.uint8), "RGB")


def fast(tokenizer, template):
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, clean_up_tokenization_spaces=False, chat_template=template,
        bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>",
    )  # fmt: skip


def image_processor(config):
    kind = Idefics3ImageProcessorPil if config["model_type"] == "idefics3" else SmolVLMImageProcessorPil
    file = published.preprocessor_config(config)
    return kind(**{key: file[key] for key in ("size", "max_image_size", "do_image_splitting", "resample")})


def processor(config, tokenizer, template=published.SMOLVLM_TEMPLATE):
    vision = config["vision_config"]
    tokens = (vision["image_size"] // vision["patch_size"] // config["scale_factor"]) ** 2
    return Idefics3Processor(image_processor(config), fast(tokenizer, template), image_seq_len=tokens, chat_template=template)


SIZES = [
    (97, 61), (300, 100), (61, 97), (64, 64), (200, 3), (3, 200), (640, 480), (1000, 10), (128, 128), (129, 128), (511, 513),
    (37, 1), (1, 37), (384, 383),
]  # fmt: skip


def digest(values):
    """Of pixels as bytes again: normalising is one table, held to elsewhere."""
    levels = np.rint((values * 0.5 + 0.5) * 255).astype(np.uint8)
    return hashlib.sha256(levels.tobytes()).hexdigest()


def image_cases(config, sizes):
    process, cases = image_processor(config), []
    for width, height in sizes:
        out = process(picture(width, height), return_tensors="np", return_row_col_info=True)
        assert out["pixel_attention_mask"].all(), "no input is padded, so the mask matters nowhere"
        inputs = [digest(one) for one in out["pixel_values"][0]]
        cases.append({"size": [width, height], "rows": out["rows"][0][0], "columns": out["cols"][0][0], "inputs": inputs})
    return cases


# Turns: sizes of the pictures, question, answer.
CONVERSATIONS = [
    [[[(97, 61)], "What colour is the small circle?", None]],
    [[[(61, 97), (64, 64)], " how many?\n", None]],
    [[[], "What's 12.5 % of 1,000?", None]],
    [[[(300, 100)], "Which one?", "It's the green one."], [[], "And これは?", None]],
    [[[], "First", " Yes."], [[(3, 200)], "", "No\n"], [[], "def main():\n\treturn 1", None]],
    [[[], "Hello!", "Hi, I'm here."], [[], "  with spaces  ", "Ok"], [[], "And 你好?", None]],
]
TEMPLATES = {
    "smolvlm": published.SMOLVLM_TEMPLATE,
    "smollm2": published.SMOLLM2_TEMPLATE,
    "base": published.SMOLVLM_TEMPLATE.replace(" | capitalize", ".capitalize()").replace("<end_of_utterance>", "<|endoftext|>"),
    "trimmed": (
        "{{- bos_token }}\n{%- set ns = namespace(found=false) %}\n{%- for message in messages %}\n"
        "    {%- if message.role not in ['user', 'assistant'] %}{{ raise_exception('no ' ~ message.role) }}{% endif %}\n"
        "    {{- '[' + message['role'].upper() + ']' + message['content'] | trim }}\n"
        "    {%- if loop.last %}{{ eos_token }}{% else %}{{ '|' if not ns.found }}{% set ns.found = true %}{% endif %}\n"
        "{% endfor %}\n{% if add_generation_prompt %}\n  go: {% endif %}"
    ),
}


def messages(turns, has_parts):
    out = []
    for sizes, question, answer in turns:
        parts = [{"type": "image"}] * len(sizes) + [{"type": "text", "text": question}]
        out.append({"role": "user", "content": parts if has_parts else question})
        if answer is not None:
            answer = answer.lstrip()
            out.append({"role": "assistant", "content": [{"type": "text", "text": answer}] if has_parts else answer})
    return out


def prompt_ids(config, tokenizer, template, turns):
    """Token ids, and what goes beside them into the model."""
    if "vision_config" not in config:
        text = fast(tokenizer, template).apply_chat_template(messages(turns, False), tokenize=False, add_generation_prompt=True)
        return {"input_ids": torch.tensor([tokenizer.encode(text, add_special_tokens=False).ids])}
    process = processor(config, tokenizer, template)
    text = process.apply_chat_template(messages(turns, True), add_generation_prompt=True)
    pictures = [picture(*size) for sizes, _, _ in turns for size in sizes]
    return process(text=[text], images=[pictures] if pictures else None, add_special_tokens=False, return_tensors="pt")


def template_cases(tokenizer):
    vision, text = published.reduced("Idefics3"), published.reduced("Llama")
    cases = []
    for name, template in TEMPLATES.items():
        has_parts = name in ("smolvlm", "base")
        for turns in CONVERSATIONS:
            if has_parts or not any(sizes for sizes, _, _ in turns):
                ids = prompt_ids(vision if has_parts else text, tokenizer, template, turns)["input_ids"]
                cases.append({"template": name, "turns": turns, "ids": ids[0].tolist()})
    return cases


def model(config, device):
    classes = {"idefics3": "Idefics3", "smolvlm": "SmolVLM", "llama": "Llama"}
    kind = classes[config["model_type"]]
    ending = "ForCausalLM" if kind == "Llama" else "ForConditionalGeneration"
    config = getattr(transformers, f"{kind}Config")(**{k: v for k, v in config.items() if k != "architectures"})
    with torch.device(device):
        return getattr(transformers, f"{kind}{ending}")(config).eval()


def state(module):
    """The tensors of a checkpoint by their published names: a tied head is none of its own."""
    tied = module.config.tie_word_embeddings
    return {name: tensor for name, tensor in module.state_dict().items() if not (tied and name == "lm_head.weight")}


def shapes(name):
    tensors = state(model(published.CONFIGS[name], "meta"))
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in tensors.items())
    count = sum(tensor.numel() for tensor in tensors.values())
    return {"parameters": count, "tensors": len(lines), "sha256": hashlib.sha256("\n".join(lines).encode()).hexdigest()}


@torch.no_grad()
def forward_cases(name, tokenizer):
    config = published.reduced(name)
    module = model(config, "cpu")
    weights = {key: torch.tensor(published.weight(key, tuple(t.shape))) for key, t in state(module).items()}
    assert not module.load_state_dict(weights, strict=False).unexpected_keys
    module.tie_weights()
    template = published.SMOLLM2_TEMPLATE if name == "Llama" else published.SMOLVLM_TEMPLATE
    cases = []
    for turns in CONVERSATIONS:
        if name == "Llama" and any(sizes for sizes, _, _ in turns):
            continue
        inputs = {key: value for key, value in prompt_ids(config, tokenizer, template, turns).items() if key != "token_type_ids"}
        case = {"turns": turns, "ids": inputs["input_ids"][0].tolist()}
        if "pixel_values" in inputs:
            features = module.get_image_features(inputs["pixel_values"], inputs["pixel_attention_mask"])
            parts = [part.flatten() for part in features.pooler_output]
            features = torch.cat(parts).reshape(inputs["pixel_values"].shape[1], -1)
            case["features"] = [round(float(x), 6) for x in (*features[0].flatten()[:60], *features[-1].flatten()[-60:])]
            case["inputs"] = len(features)
        ids, written, margin = inputs["input_ids"], [], 1e9
        for _ in range(NEW_TOKENS):
            full = inputs | {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            scores = module(**full).logits[0, -1]
            if not written:
                case["scores"] = [round(float(x), 6) for x in scores[::SCORE_STEP]]
            best = scores.topk(2)
            margin = min(margin, float(best.values[0] - best.values[1]))
            written.append(int(best.indices[0]))
            ids = torch.cat([ids, best.indices[:1][None]], dim=1)
        print(f"{name}: {len(case['ids'])} tokens, {case.get('inputs', 0)} inputs, smallest lead {margin:.1e}, {len(set(written))} different tokens")
        cases.append(case | {"tokens": written})
    return cases


def video_cases(tokenizer):
    from transformers import SmolVLMProcessor, SmolVLMVideoProcessor
    from transformers.video_utils import VideoMetadata

    config = published.reduced("SmolVLM2")
    file, side = published.preprocessor_config(config), config["vision_config"]["image_size"]
    keys = ("size", "max_image_size", "resample", "video_sampling")
    videos = SmolVLMVideoProcessor(**{key: file[key] for key in keys}, do_sample_frames=True)
    process = SmolVLMProcessor(image_processor(config), fast(tokenizer, None), videos, image_seq_len=4)
    cases = []
    for total, fps, size in [(1, 24.0, (64, 48)), (24, 24.0, (64, 48)), (75, 29.97, (90, 160)), (250, 25.0, (33, 20)), (4_000, 25.0, (4, 4)), (9_000, 2.0, (2, 4)), (40_000, 10.0, (2, 2))]:
        duration = total / fps
        metadata = VideoMetadata(total_num_frames=total, fps=fps, duration=duration, width=size[0], height=size[1])
        frames = videos.sample_frames(metadata, num_frames=videos.num_frames, fps=videos.fps).tolist()
        case = {"total": total, "fps": fps, "duration_s": duration, "frames": frames}
        if len(frames) <= 12:
            shown = np.stack([np.asarray(picture(*size))] * len(frames))
            metadata.frames_indices = frames
            text = process.apply_chat_template(
                [{"role": "user", "content": [{"type": "video"}, {"type": "text", "text": "What happens?"}]}],
                add_generation_prompt=True,
            )
            out = process(text=[text], videos=[shown], video_metadata=[metadata], do_sample_frames=False, add_special_tokens=False, return_tensors="pt")
            case["ids"] = out["input_ids"][0].tolist()
            pillow = image_processor(config)(picture(*size), return_tensors="np", do_image_splitting=False)["pixel_values"][0, 0]
            off = np.abs(np.asarray(out["pixel_values"])[0][0] - pillow) * 127.5
            print(f"video of {total} frames: torchvision and Pillow are {off.max():.1f} levels apart, {off.mean():.2f} on average")
            # Pillow 13 resizes tall pictures in another order, which shows in hard edges.
            assert off.max() < 2.5 or off.mean() < 1
            assert pillow.shape == (3, side, side)
            case |= {"size": size, "first": digest(pillow)}
        cases.append(case)
    return cases


@torch.no_grad()
def probe_cases(tokenizer):
    """What a probe of a published checkpoint says, by the code that trains it (../../training/published_probe.py)."""
    sys.path.insert(0, str(TRAINING))
    from mas_probe import MasProbe
    from published_probe import Edge

    config = published.reduced("Idefics3")
    module = model(config, "cpu")
    weights = {key: torch.tensor(published.weight(key, tuple(t.shape))) for key, t in state(module).items()}
    module.load_state_dict(weights, strict=False)
    module.tie_weights()
    with tempfile.TemporaryDirectory() as folder:
        module.save_pretrained(folder)
        processor(config, tokenizer).save_pretrained(folder)
        edge = Edge(Path(folder), torch.device("cpu"), 1)
    probe = MasProbe(config["text_config"]["hidden_size"], config["vision_config"]["hidden_size"], None, *PROBE)
    probe.load_state_dict({key: torch.tensor(published.weight(key, tuple(t.shape))) for key, t in probe.state_dict().items()})
    seen, cases = edge.look(picture(64, 48))[None], []
    for question in ("What is this?", "How many?"):
        embedded, length = edge.read(question)
        relevance, patches = probe(embedded[None], torch.tensor([length]), seen, None, torch.tensor([[1.0, 0.0]]))
        values = [round(float(x), 6) for x in patches[0].sigmoid()]
        cases.append({"question": question, "vision_relevance": round(float(relevance[0, 0].sigmoid()), 6), "patches": values})
    return cases


def has(name):
    return importlib.util.find_spec(name) is not None


def golden(file):
    tokenizer = filled(file)
    tokenizer.encode_special_tokens = True
    encoded = [{"text": text, "ids": tokenizer.encode(text, add_special_tokens=False).ids} for text in texts()]
    tokenizer.encode_special_tokens = False
    found = {
        "shapes": {name: shapes(name) for name in published.CONFIGS},
        "encode": encoded,
        "images": {name: image_cases(published.reduced(name), SIZES) for name in ("Idefics3", "SmolVLM2")},
        "published_images": {
            name: image_cases(published.CONFIGS[name], [(300, 200), (64, 640)])
            for name in ("SmolVLM-256M-Instruct", "SmolVLM2-2.2B-Instruct")
        },
        "templates": TEMPLATES,
        "prompts": template_cases(tokenizer),
        "probe": probe_cases(tokenizer),
        "forward": {name: forward_cases(name, tokenizer) for name in published.REDUCED},
    }
    if has("num2words") and has("torchvision"):
        found["videos"] = video_cases(tokenizer)
    else:
        print("*** LEFT OUT: videos. Install num2words and torchvision to compare them. ***")
    return found


def differences(place, known, found):
    """Where two trees differ; numbers with a fraction may by a little."""
    if isinstance(known, dict):
        return [d for key in found for d in differences(f"{place}/{key}", known.get(key), found[key])]
    if isinstance(known, list) and len(known) == len(found):
        return [d for index, one in enumerate(known) for d in differences(f"{place}/{index}", one, found[index])]
    close = isinstance(known, float) and isinstance(found, float) and abs(known - found) <= 1e-4 * max(1, abs(known))
    return [] if close or known == found else [f"{place}: {found!r} now, the file says {known!r}"]


def check():
    """Says where transformers now does something else than the golden file says; the number of such places."""
    found = json.loads(json.dumps(golden(json.loads(TOKENIZER.read_text()))))
    wrong = differences("", json.loads(EXPECTED.read_text()), found)
    print("\n".join(wrong[:20]))
    print(f"transformers: published structures compared, {len(wrong)} differences")
    return len(wrong)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    logging.set_verbosity_error()
    torch.set_num_threads(2)
    if args.check:
        sys.exit(bool(check()))
    file = train_tokenizer()
    found = golden(file)
    if "videos" not in found:
        sys.exit("nothing is written without the videos")
    TOKENIZER.write_text(json.dumps(file, separators=(",", ":")) + "\n")
    EXPECTED.write_text(json.dumps(found, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

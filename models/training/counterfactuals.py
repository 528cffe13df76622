"""What a published target's answer owes to a picture, and to each tile of it: the labels that its probe learns from.

The target answers each question about each picture greedily, on everything. Its distributions over the whole vocabulary, at
every place of that answer, are compared with those it has without the picture, and without each tile alone. With the
total variation v at each place, `1 - product(1 - v)` is the probability that an answer drawn without the part differs from
one drawn with it, if both are drawn as alike as can be: the whole answer counts, not the likelihood of one right token.

Prompts without tiles are those of the runtime (`src/text/prompt_builder.rs`): a tile that is left out leaves its place out.
"""
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

AROUND, GLOBAL, PLACEHOLDER = "<fake_token_around_image>", "<global-img>", "<image>"


def image_text(rows: int, columns: int, kept, tokens: int) -> str:
    """What stands for a picture of which these tiles are `kept` [rows * columns], and the whole of it."""
    text = ""
    for row in range(rows):
        here = [column for column in range(columns) if kept[row * columns + column]]
        text += "".join(f"{AROUND}<row_{row + 1}_col_{column + 1}>" + PLACEHOLDER * tokens for column in here)
        text += "\n" if here else ""
    text += "\n" if any(kept) else ""
    return text + AROUND + GLOBAL + PLACEHOLDER * tokens + AROUND


@dataclass
class Seen:
    """A picture as the target's tower sees it."""
    rows: int
    columns: int
    features: torch.Tensor  # [inputs, tokens, hidden], the whole picture last


class Target:
    """A published vision-language checkpoint that answers and is asked what it would have answered."""

    def __init__(self, folder: Path, device, dtype, answer_tokens: int):
        self.processor = AutoProcessor.from_pretrained(folder)
        self.model = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).to(device).eval()
        self.device, self.answer_tokens = device, answer_tokens
        self.tokenizer = self.processor.tokenizer
        self.placeholder = self.tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        ends = {"<end_of_utterance>", self.tokenizer.eos_token}
        self.ends = {self.tokenizer.convert_tokens_to_ids(end) for end in ends if end}

    def look(self, image) -> Seen:
        made = self.processor.image_processor([[image]], return_tensors="pt", return_row_col_info=True)
        pixels = made["pixel_values"].to(self.device, self.model.dtype)
        features = self.model.get_image_features(pixels).pooler_output
        # One list entry a prompt, in which the inputs stand one behind the other.
        features = torch.cat([part.reshape(-1, part.shape[-1]) for part in features]).view(pixels.shape[1], -1, features[0].shape[-1])
        return Seen(made["rows"][0][0], made["cols"][0][0], features)

    def prompt(self, question: str, seen: Seen | None, kept=None):
        """Embeddings [1, n, hidden] of the prompt, with a picture of which these tiles are kept, or without one."""
        parts = [{"type": "image"}] if seen else []
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": question}]}]
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True)
        if seen:
            kept = [True] * (seen.rows * seen.columns) if kept is None else kept
            text = text.replace(PLACEHOLDER, image_text(seen.rows, seen.columns, kept, seen.features.shape[1]), 1)
        ids = self.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"].to(self.device)
        embedded = self.model.get_input_embeddings()(ids)
        if seen:
            inputs = torch.tensor([*kept, True], device=self.device)
            embedded[ids == self.placeholder] = seen.features[inputs].flatten(0, 1).to(embedded.dtype)
        return embedded

    def answer(self, prompt) -> list[int]:
        """The greedy answer, its end token included where it came to one."""
        written, embedded, past = [], prompt, None
        while len(written) < self.answer_tokens and not (written and written[-1] in self.ends):
            out = self.model(inputs_embeds=embedded, past_key_values=past, use_cache=True, logits_to_keep=1)
            written.append(int(out.logits[0, -1].argmax()))
            past, embedded = out.past_key_values, self.embed(written[-1:])
        return written

    def embed(self, ids):
        return self.model.get_input_embeddings()(torch.tensor([ids], device=self.device))

    def distributions(self, prompt, answer):
        """Probabilities [len(answer), vocabulary] at each place of this answer."""
        embedded = torch.cat([prompt, self.embed(answer[:-1])], 1) if len(answer) > 1 else prompt
        logits = self.model(inputs_embeds=embedded, use_cache=False, logits_to_keep=len(answer)).logits[0, -len(answer):]
        return logits.float().softmax(-1)


def change(whole, part) -> float:
    """Probability that the answer differs, from distributions [places, vocabulary] with and without something."""
    variation = (whole - part).abs().sum(-1) / 2
    return float(1 - (1 - variation.clamp(0, 1)).prod())


@torch.no_grad()
def label(target: Target, seen: Seen, question: str) -> dict:
    """How the answer to a question depends on a picture: `picture`, and `tiles` one by one; in 0 to 1."""
    prompt = target.prompt(question, seen)
    answer = target.answer(prompt)
    whole = target.distributions(prompt, answer)
    without = lambda kept: change(whole, target.distributions(target.prompt(question, seen, kept), answer))
    count = seen.rows * seen.columns
    tiles = [without([other != tile for other in range(count)]) for tile in range(count)]
    picture = change(whole, target.distributions(target.prompt(question, None), answer))
    return {"answer": answer, "picture": picture, "tiles": tiles, "rows": seen.rows, "columns": seen.columns}


def read_labels(path: Path) -> list[dict]:
    """What a run has written so far; a last line that was cut is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return found


@torch.no_grad()
def collect(target: Target, pictures: list[Path], questions, path: Path, report) -> list[dict]:
    """Labels of each picture's questions, as lines of a file; goes on where a cut run was. `questions` gives those of a
    picture; `report` hears of each picture that is done."""
    labels = read_labels(path)
    path.write_text("".join(json.dumps(one) + "\n" for one in labels))
    known = {(one["file"], one["question"]) for one in labels}
    with path.open("a") as log:
        for index, file in enumerate(pictures):
            open_ones = [q for q in questions(file) if (file.name, q) not in known]
            if open_ones:
                seen = target.look(Image.open(file).convert("RGB"))
                for question in open_ones:
                    labels.append({"file": file.name, "question": question} | label(target, seen, question))
                    log.write(json.dumps(labels[-1]) + "\n")
                log.flush()
            report(index + 1)
    return labels

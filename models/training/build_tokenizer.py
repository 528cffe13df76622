"""Trains the byte-level BPE on questions and answers of the pocket world; writes data/tokenizer.json.

Upper case letters and digits are split off before the merges, so that printed text is read character by
character. Usage: python build_tokenizer.py [--scenes 3000]
"""
import argparse
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import vocabulary as V
from config import SPECIAL_TOKENS

PATH = Path(__file__).parent / "data" / "tokenizer.json"
VOCAB_SIZE = 768


def word_lists():
    """Every world word, as it appears inside a sentence and at its start."""
    words = [*V.SPOKEN, *V.STYLES, *V.SIZES, *V.NUMBERS, *V.ORDINALS, *V.OPPOSITES, *V.OPPOSITES.values(), *V.TONES,
             *(r for row in V.REGIONS for r in row)]
    for w in words:
        for _ in range(20):
            yield f"the {w} {w}, {w}."
    for _ in range(2000):
        yield "User:\nAssistant: What Is How Does"


def corpus(scenes: int):
    yield from word_lists()
    try:
        from world import build_scene
    except ImportError:
        return
    for seed in range(scenes):
        for q in build_scene("train", 10_000_000 + seed).questions:
            yield q.question
            yield " " + q.answer


def train(scenes: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex("[A-Z0-9]"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(corpus(scenes), trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE, special_tokens=SPECIAL_TOKENS, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return tokenizer


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scenes", type=int, default=3000)
    tokenizer = train(parser.parse_args().scenes)
    PATH.parent.mkdir(exist_ok=True)
    tokenizer.save(str(PATH))
    for text in ("What colour is the star?", " AB12 EXIT", " left of the red circle", "from left to right: a red star"):
        print(tokenizer.get_vocab_size(), tokenizer.encode(text).tokens)

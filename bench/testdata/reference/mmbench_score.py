"""Golden scores for bench/src/datasets/mmbench, by the evaluator of lmms-eval as published on PyPI.

    pip download --no-deps lmms-eval==0.7.3 && unzip lmms_eval-0.7.3-py3-none-any.whl -d lmms && pip install pandas
    python mmbench_score.py --evaluator lmms/lmms_eval/tasks/mmbench/mmbench_evals.py --out ../mmbench_golden.json

Only its exact rules are asked: where they extract nothing, no other model is called, and the answer is wrong.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import random
import sys
import types

NOUNS = "cat dog bird red blue red car A man B-52 Tokyo Paris 12 2 none".split()
TEMPLATES = (
    "{x}", "{x}.", "({x})", "{x})", "{x}:", "{x},", "({x}).", ":{x}", "{x}. {t}", "({x}) {t}", "The answer is {x}",
    "The answer is {x}.", "the answer is ({x})", "Answer: {x}", "Answer:{x}", "{t}", "{T}", "It is {t}.", "{x} or {y}",
    "{x}. or {y}.", "A {t} can be seen here", "A", "A good one", "A rather good one", "I think {x} but not sure", "E",
    "", "neither", "{t} and {u}", "{x}: {u}", "({x}) not ({y})", "**{x}**", "{x}.\n{t}", "Option {x}", "{x}{y}",
)
CATEGORIES = {"ocr": "finegrained", "color": "finegrained", "physics": "reasoning", "social": "reasoning"}


def choices_of(random_: random.Random) -> dict:
    count = random_.choice([2, 3, 4, 4, 4])
    texts = [" ".join(random_.sample(NOUNS, random_.choice([1, 1, 2]))) for _ in range(count)]
    return dict(zip("ABCD", texts))


def prediction(random_: random.Random, choices: dict, right: str, share_right: float) -> str:
    letters = list(choices)
    x = right if random_.random() < share_right else random_.choice(letters)
    y = random_.choice(letters)
    template = random_.choice(TEMPLATES if random_.random() > share_right else TEMPLATES[:10])
    return template.format(x=x, y=y, t=choices[x], T=choices[x].upper(), u=choices[y])


def rolled(choices: dict, answer: str, by: int) -> tuple[dict, str]:
    """The choice at place i comes to place i + by."""
    letters = list(choices)
    place = {letter: letters[(index + by) % len(letters)] for index, letter in enumerate(letters)}
    return {place[letter]: text for letter, text in choices.items()}, place[answer]


def load(path: str):
    """The evaluator alone, without the packages it would call a model with."""
    logger = types.SimpleNamespace(info=lambda *_: None)
    exact = types.SimpleNamespace(extract_mcq_answer=lambda *_, **__: None)
    names = ["lmms_eval", "lmms_eval.tasks", "lmms_eval.tasks._task_utils"]
    sys.modules |= {name: types.ModuleType(name) for name in names}
    sys.modules |= {
        "requests": types.ModuleType("requests"),
        "loguru": types.SimpleNamespace(logger=logger),
        "lmms_eval.tasks._task_utils.mcq_extract": exact,
    }
    spec = importlib.util.spec_from_file_location("mmbench_evals", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.MMBench_Evaluator()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluator", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    evaluator = load(arguments.evaluator)

    random_ = random.Random(2023)
    extracted = []
    for _ in range(300):
        choices = choices_of(random_)
        text = prediction(random_, choices, random_.choice(list(choices)), 0.3)
        extracted.append([list(choices.values()), text, evaluator.can_infer(text, dict(choices)) or None])

    rows = []
    for index in range(1, 61):
        choices, category = choices_of(random_), random_.choice(list(CATEGORIES))
        answer, share_right = random_.choice(list(choices)), random_.choice([0.4, 0.95, 1.0])
        for by in range(len(choices)):
            turned, right = rolled(choices, answer, by)
            rows.append({
                "index": index + by * 1_000_000,
                "question": f"Which is it, {index}?",
                **{letter: turned.get(letter) for letter in "ABCD"},
                "answer": right,
                "category": category,
                "l2-category": CATEGORIES[category],
                "prediction": prediction(random_, turned, right, share_right),
            })
    with contextlib.redirect_stdout(io.StringIO()):
        overall, category, l2_category = evaluator.eval_result(rows, "static")
    golden = {
        "made_by": "mmbench_score.py --evaluator lmms_eval/tasks/mmbench/mmbench_evals.py (lmms-eval 0.7.3)",
        "extracted": extracted,
        "rows": rows,
        "overall": overall,
        "category": category,
        "l2-category": l2_category,
    }
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()

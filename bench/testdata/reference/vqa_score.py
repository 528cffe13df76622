"""Golden scores for bench/src/datasets/vqa, by the official VQA evaluator as LAVIS publishes it on PyPI.

    pip download --no-deps salesforce-lavis==1.0.2 && unzip salesforce_lavis-1.0.2-py3-none-any.whl -d lavis
    python vqa_score.py --evaluator lavis/lavis/common/vqa_tools/vqa_eval.py --out ../vqa_golden.json

Made here: answers of people and of models that look alike but for case, articles, digits, number words, contractions
and punctuation, so that every rule of the evaluator decides some of them.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import random

WORDS = (
    "a an the yes no none zero one two three ten dont don't cant wont isnt its it's whats theyre oclock somebody'd "
    "Yall'd've im Im left right red blue-green black&white t.v. tv U.S. 3.5 .5 5. 1,000 1,000,000 10:30 $5 50% "
    "hot dog cat/dog (cat) [dog] {x} \"stop\" stop! what? @home under_score back\\slash semi;colon a+b x=y <b> `tick "
    "Ein \u00e9t\u00e9 \u0663,\u0664 \u0130stanbul no-one don'tve mr. e.g. ..."
).split()
SEPARATORS = [" "] * 12 + ["  ", "\t", "\n", ", ", ",", " - ", "-", "/", " / ", ".", ". ", "\u00a0", "\u001f"]
PUNCTUATION = list(";/[]\"{}()=+\\_-><@`,?!.:'&")
QUESTION_TYPES = ["what is", "how many", "is the", "none of the above"]
ANSWER_TYPES = ["yes/no", "number", "other"]


def phrase(random_: random.Random) -> str:
    """Some words with some separators between and around them."""
    text = random_.choice(WORDS)
    for _ in range(random_.choice([0, 0, 0, 1, 1, 2, 3])):
        text += random_.choice(SEPARATORS) + random_.choice(WORDS)
    if random_.random() < 0.3:
        place = random_.randrange(len(text) + 1)
        text = text[:place] + random_.choice(PUNCTUATION) + text[place:]
    return random_.choice(["", "", "", " ", "\n"]) + text + random_.choice(["", "", "", " ", ".", "!"])


def variant(random_: random.Random, text: str) -> str:
    """The same answer as another person would type it."""
    changes = [
        str.lower,
        str.upper,
        str.strip,
        lambda one: "the " + one,
        lambda one: one + ".",
        lambda one: one.replace("'", ""),
        lambda one: one.replace(",", ""),
        lambda one: one.replace("-", " "),
        lambda one: one.replace("one", "1").replace("two", "2").replace("none", "0"),
    ]
    return random_.choice(changes)(text) if random_.random() < 0.5 else text


def question(random_: random.Random, number: int, evaluator) -> tuple[dict, str]:
    """An annotation in the official form, and a model's answer."""
    candidates = [phrase(random_) for _ in range(random_.choice([1, 1, 2, 3, 4]))]
    if random_.random() < 0.7:
        # As in the data set itself, where most answers of people are normal already.
        normal = [evaluator.processDigitArticle(evaluator.processPunctuation(one.strip())) for one in candidates]
        people = [variant(random_, random_.choice(normal)) if random_.random() < 0.2 else random_.choice(normal)
                  for _ in range(10)]
    else:
        people = [variant(random_, random_.choice(candidates)) for _ in range(10)]
    if random_.random() < 0.1:
        people = [people[0]] * 10
    answers = [{"answer": one, "answer_confidence": "yes", "answer_id": place + 1} for place, one in enumerate(people)]
    annotation = {
        "question_id": number,
        "image_id": number,
        "question_type": random_.choice(QUESTION_TYPES),
        "answer_type": random_.choice(ANSWER_TYPES),
        "multiple_choice_answer": people[0],
        "answers": answers,
    }
    return annotation, variant(random_, random_.choice(candidates))


class Side:
    """What the evaluator asks of annotations and of results."""

    def __init__(self, qa: dict):
        self.qa = qa

    def getQuesIds(self):  # noqa: N802, the evaluator's name
        return list(self.qa)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluator", required=True)
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    spec = importlib.util.spec_from_file_location("vqa_eval", arguments.evaluator)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    random_ = random.Random(2017)
    rules = module.VQAEval()
    texts = [phrase(random_) for _ in range(300)] + sorted(rules.contractions) + [". " * 40 + "x", "", " ", "a"]
    texts = list(dict.fromkeys(texts))
    cleaned = [one.replace("\n", " ").replace("\t", " ").strip() for one in texts]
    normalised = [[one, rules.processDigitArticle(rules.processPunctuation(clean))]
                  for one, clean in zip(texts, cleaned)]

    cases = [question(random_, number, rules) for number in range(1, 241)]
    people = {annotation["question_id"]: [one["answer"] for one in annotation["answers"]] for annotation, _ in cases}
    # n = 12: of the accuracies all digits that a test can compare.
    evaluator = module.VQAEval(
        Side({annotation["question_id"]: annotation for annotation, _ in cases}),
        Side({annotation["question_id"]: {"answer": answer} for annotation, answer in cases}),
        n=12,
    )
    with contextlib.redirect_stdout(io.StringIO()):
        evaluator.evaluate()
    golden = {
        "made_by": "vqa_score.py --evaluator lavis/common/vqa_tools/vqa_eval.py (salesforce-lavis 1.0.2)",
        "normalised": normalised,
        "questions": [
            [annotation["question_id"], annotation["question_type"], annotation["answer_type"], answer,
             people[annotation["question_id"]], evaluator.evalQA[annotation["question_id"]]]
            for annotation, answer in cases
        ],
        "accuracy": evaluator.accuracy,
    }
    with open(arguments.out, "w", encoding="utf-8") as file:
        json.dump(golden, file, ensure_ascii=True, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()

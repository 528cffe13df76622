"""OpenAI's own Python client against a server: python check.py BASE_URL CASES_JSON (answers | busy | keys) [KEY].

It is used as its documentation says and not adapted in any way. Exits non-zero where anything is not as it has to be.
"""
import base64
import json
import sys

import openai

BASE_URL, CASES, MODE = sys.argv[1:4]
MODEL = "pocket-cloud"
KEY = sys.argv[4] if len(sys.argv) > 4 else "unused"
client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0)


def ask(content, **more):
    return client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": content}], temperature=0, **more)


def encoded(path):
    with open(path, "rb") as file:
        return base64.b64encode(file.read()).decode()


def content_of(case):
    parts = [{"type": "text", "text": case["question"]}] if case["question"] else []
    parts += [{"type": "image_url", "image_url": {"url": "data:image/png;base64," + encoded(path)}}
              for path in case["images"]]
    if case["audio"]:
        parts.append({"type": "input_audio", "input_audio": {"data": encoded(case["audio"]), "format": "wav"}})
    return parts


def refused(kind, call):
    try:
        call()
    except kind as error:
        assert type(error) is kind, error
        assert len(error.message) > 20, error
        return error
    raise AssertionError(f"{kind.__name__} was not raised")


def answers():
    names = [model.id for model in client.models.list()]
    assert names == [MODEL], names
    assert client.models.retrieve(MODEL).owned_by == "msao"

    cases = json.loads(CASES)
    assert {bool(case["audio"]) for case in cases} == {True, False}
    for case in cases:
        content, expected = content_of(case), case["answer"]
        answer = ask(content)
        assert answer.choices[0].message.content == expected, (case, answer)
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert (answer.usage.prompt_tokens_details.audio_tokens > 0) == bool(case["audio"])

        stream = list(ask(content, stream=True, stream_options={"include_usage": True}))
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text == expected, text
        assert stream[-1].usage.completion_tokens == answer.usage.completion_tokens

        predicted = ask(content, prediction={"type": "content", "content": expected})
        details = predicted.usage.completion_tokens_details
        assert predicted.choices[0].message.content == expected
        assert details.accepted_prediction_tokens > 0 and details.rejected_prediction_tokens == 0, details
        wrong = ask(content, prediction={"type": "content", "content": "nobody would say this"})
        assert wrong.choices[0].message.content == expected
        assert wrong.usage.completion_tokens_details.rejected_prediction_tokens > 0

        told = ask(content, logprobs=True, top_logprobs=2).choices[0].logprobs.content
        said = b"".join(bytes(token.bytes) for token in told).decode().strip()
        assert said == expected, said
        assert all(token.top_logprobs[0].logprob == token.logprob <= 0 for token in told)

        stop = expected[1:3]
        cut = ask(content, stop=[stop]).choices[0]
        assert (cut.message.content, cut.finish_reason) == (expected[:expected.index(stop)], "stop"), cut

    case = cases[0]
    turns = [{"role": "system", "content": "Answer briefly."},
             {"role": "user", "content": content_of(case)},
             {"role": "assistant", "content": case["answer"]},
             {"role": "user", "content": case["question"]}]
    followed = client.chat.completions.create(model=MODEL, messages=turns, max_completion_tokens=1, seed=3)
    assert followed.usage.completion_tokens == 1 and followed.choices[0].finish_reason == "length"
    drawn = [ask(content_of(case), seed=5, top_p=0.9).choices[0].message.content for _ in range(2)]
    assert drawn[0] == drawn[1]

    bad = refused(openai.BadRequestError, lambda: ask("what is this?", n=2))
    assert (bad.status_code, bad.param, bad.code) == (400, "n", "unsupported_parameter"), bad.body
    gone = refused(openai.NotFoundError, lambda: client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "hi"}]))
    assert gone.code == "model_not_found", gone.body
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    refused(openai.UnprocessableEntityError, lambda: ask([image, {"type": "text", "text": "what?"}]))
    refused(openai.UnprocessableEntityError, lambda: ask([image, {"type": "text", "text": "what?"}], stream=True))


def busy():
    for stream in (False, True):
        error = refused(openai.RateLimitError, lambda: ask("what is this?", stream=stream))
        assert error.code == "busy" and int(error.response.headers["retry-after"]) >= 1, error.body
    # Left to itself the client comes back by itself, when it was told to.
    patient = client.with_options(max_retries=1)
    refused(openai.RateLimitError, lambda: patient.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "what is this?"}]))


def keys():
    """KEY may make 4 requests a minute, and only for answers."""
    question = "what is this?"
    for wrong in ("unused", KEY[:-1], "msao_0_0"):
        denied = refused(openai.AuthenticationError, lambda: client.with_options(api_key=wrong).models.list())
        assert (denied.status_code, denied.code) == (401, "invalid_api_key"), denied.body
    no_key = {"Authorization": openai.Omit()}
    for stream in (False, True):
        denied = refused(openai.AuthenticationError, lambda: ask(question, stream=stream, extra_headers=no_key))
        assert denied.code == "invalid_api_key", denied.body
    denied = refused(openai.PermissionDeniedError, lambda: client.post("/session-tokens", cast_to=object, body={}))
    assert denied.code == "insufficient_scope", denied.body

    first = ask(question, max_tokens=8)
    turns = [{"role": "user", "content": question},
             {"role": "assistant", "content": first.choices[0].message.content},
             {"role": "user", "content": "and now?"}]
    second = client.chat.completions.create(model=MODEL, messages=turns, temperature=0, max_tokens=8)
    assert first.usage.prompt_tokens_details.cached_tokens == 0
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1, second.usage
    refused(openai.NotFoundError, lambda: client.models.retrieve("gpt-4o"))
    refused(openai.BadRequestError, lambda: ask(question, n=2))
    # One comes back every 15 s, which is longer than any of these takes.
    late = refused(openai.RateLimitError, lambda: [client.models.list() for _ in range(100)])
    assert late.code == "rate_limit_exceeded", late.body
    assert 1 <= int(late.response.headers["retry-after"]) <= 15


{"answers": answers, "busy": busy, "keys": keys}[MODE]()
print(f"openai {openai.__version__} for Python: {MODE}: all as it has to be")

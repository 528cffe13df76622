"""Times the text decoder of a checkpoint on the CPU in MSAO and in its peers, side by side in one run.

The same weights go to every engine: MSAO (`step_times`), PyTorch eager (`transformers`), onnxruntime and llama.cpp. Each
engine runs in a process of its own, round after round, so that what else the machine does falls on all of them; a
figure is the median over the rounds of each process's median. Where an engine's logits are to be had from Python they are
compared with PyTorch's before anything is timed, so that nobody is fast at something else.

    cargo build --release -p msao-models --example step_times
    python bench/peers/decoder.py --threads 1,2 --rounds 3 --out peers.json

Needs torch, transformers, safetensors, numpy, and onnx, onnxruntime, gguf, llama-cpp-python for the engines of those
names; one that is missing is left out, and said so.

The four figures: one token behind 256 positions (decode), eight tokens of one sequence behind as many (verify), one token of
each of eight such sequences (decode, batch 8), and 256 positions at once (prefill).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTEXT = 256
BATCH = 8
REPEATS = 30
WARM_UP = 5
ROOT = Path(__file__).resolve().parents[2]
FIGURES = ["decode", "verify_8", "decode_batch_8", "prefill_256"]


def timed(step):
    """Median milliseconds of a step."""
    for _ in range(WARM_UP):
        step()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        step()
        times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def decoder_of(folder):
    """The decoder alone, as `transformers` runs it, in f32."""
    import torch
    from safetensors.torch import load_file
    from transformers import LlamaConfig, LlamaForCausalLM

    config = json.loads((folder / "config.json").read_text())["text_config"]
    config.pop("model_type")
    model = LlamaForCausalLM(LlamaConfig(**config, attn_implementation="sdpa")).float().eval()
    prefix = "model.text_model."
    tensors = load_file(folder / "model.safetensors")
    state = {"model." + name.removeprefix(prefix): tensor.float() for name, tensor in tensors.items() if name.startswith(prefix)}
    head = tensors.get("lm_head.weight")
    state["lm_head.weight"] = head.float() if head is not None else state["model.embed_tokens.weight"]
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not missing and not unexpected, f"not this decoder: missing {missing}, unexpected {unexpected}"
    torch.set_grad_enabled(False)
    return model


def prompt(model, rows):
    """Token ids that differ, so that no engine profits from equal ones: [1, rows]."""
    import torch

    return (torch.arange(rows) * 7 % (model.config.vocab_size - 16) + 16)[None]


def pytorch(folder, threads, _precision, _scratch):
    import torch
    from transformers import DynamicCache

    torch.set_num_threads(threads)
    model = decoder_of(folder)
    context = prompt(model, CONTEXT)

    def held(batch):
        cache = DynamicCache(config=model.config)
        model(context.expand(batch, -1), past_key_values=cache)
        return cache

    def step(cache, batch, rows):
        def run():
            model(context[:, :rows].expand(batch, -1), past_key_values=cache)
            cache.crop(-rows)

        return run

    one, many = held(1), held(BATCH)
    return {
        "decode": timed(step(one, 1, 1)),
        "verify_8": timed(step(one, 1, 8)),
        "decode_batch_8": timed(step(many, BATCH, 1)),
        "prefill_256": timed(lambda: model(context, past_key_values=DynamicCache(config=model.config), logits_to_keep=1)),
    }


def onnx_graph(folder, scratch):
    """The decoder as a graph, exported once."""
    from graphs import export_decoder

    path = scratch / "decoder.onnx"
    if not path.exists():
        model = decoder_of(folder)
        export_decoder(model.model, model.lm_head, path, with_embedding=model.model.embed_tokens)
    return path


def onnxruntime(folder, threads, _precision, scratch):
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = ort.InferenceSession(str(onnx_graph(folder, scratch)), options, providers=["CPUExecutionProvider"])
    model = decoder_of(folder)
    config = model.config
    context = prompt(model, CONTEXT)
    names = [f"past_key_values.{layer}.{what}" for layer in range(config.num_hidden_layers) for what in ("key", "value")]
    empty = [np.zeros((1, config.num_key_value_heads, 0, config.head_dim), np.float32)] * len(names)

    def inputs(batch, rows, held, past, kept):
        arrays = {
            "input_ids": np.repeat(context.numpy()[:, :rows], batch, 0),
            "position_ids": np.repeat(np.arange(held, held + rows)[None], batch, 0),
            "num_logits_to_keep": np.array(kept), **dict(zip(names, past, strict=True)),
        }
        return {name: ort.OrtValue.ortvalue_from_numpy(np.require(array, requirements="C")) for name, array in arrays.items()}

    def run(given):
        binding = session.io_binding()
        for name, value in given.items():
            binding.bind_ortvalue_input(name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name)
        session.run_with_iobinding(binding)
        return binding.get_outputs()

    logits, *past = (output.numpy() for output in run(inputs(1, CONTEXT, 0, empty, CONTEXT)))
    off = float(abs(logits - model(context).logits.numpy()).max())
    assert off < 1e-2, f"onnxruntime computes something else: logits differ by {off}"
    prefill = inputs(1, CONTEXT, 0, empty, 1)
    decode, verify = inputs(1, 1, CONTEXT, past, 1), inputs(1, 8, CONTEXT, past, 8)
    batch = inputs(BATCH, 1, CONTEXT, [np.repeat(array, BATCH, 0) for array in past], 1)
    return {
        "decode": timed(lambda: run(decode)),
        "verify_8": timed(lambda: run(verify)),
        "decode_batch_8": timed(lambda: run(batch)),
        "prefill_256": timed(lambda: run(prefill)),
    }


def gguf_file(folder, precision, scratch):
    """The decoder as llama.cpp reads it, once for each precision."""
    import gguf
    import numpy as np

    path = scratch / f"decoder-{precision}.gguf"
    if path.exists():
        return path
    model = decoder_of(folder)
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("no_vocab")
    kinds = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16, "int8": gguf.GGMLQuantizationType.Q8_0}

    def add(name, tensor):
        array = np.ascontiguousarray(tensor.numpy(), np.float32)
        kind = kinds[precision] if array.ndim == 2 else kinds["f32"]
        writer.add_tensor(name, gguf.quantize(array, kind), raw_dtype=kind)

    def paired(weight, heads):
        """llama.cpp turns neighbouring numbers, `transformers` the two halves of a head."""
        out, inputs = weight.shape
        return weight.view(heads, 2, out // heads // 2, inputs).transpose(1, 2).reshape(out, inputs)

    add("token_embd.weight", model.model.embed_tokens.weight)
    add("output_norm.weight", model.model.norm.weight)
    for index, layer in enumerate(model.model.layers):
        attention, mlp = layer.self_attn, layer.mlp
        for name, tensor in {
            "attn_norm": layer.input_layernorm.weight, "ffn_norm": layer.post_attention_layernorm.weight,
            "attn_q": paired(attention.q_proj.weight, config.num_attention_heads),
            "attn_k": paired(attention.k_proj.weight, config.num_key_value_heads),
            "attn_v": attention.v_proj.weight, "attn_output": attention.o_proj.weight,
            "ffn_gate": mlp.gate_proj.weight, "ffn_up": mlp.up_proj.weight, "ffn_down": mlp.down_proj.weight,
        }.items():
            add(f"blk.{index}.{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def llama_cpp(folder, threads, precision, scratch):
    import ctypes

    import llama_cpp
    import numpy as np

    model = decoder_of(folder)
    context = prompt(model, CONTEXT)[0].tolist()
    llama_cpp.llama_log_set(llama_cpp.llama_log_callback(lambda *_: None), ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    loaded = llama_cpp.llama_model_load_from_file(
        str(gguf_file(folder, precision, scratch)).encode(), llama_cpp.llama_model_default_params())
    assert loaded, "llama.cpp did not load the file"
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx = (CONTEXT + 64) * BATCH
    settings.n_batch = settings.n_ubatch = CONTEXT
    settings.n_seq_max = BATCH
    settings.n_threads = settings.n_threads_batch = threads
    if precision == "f32":
        settings.type_k = settings.type_v = 0
    engine = llama_cpp.llama_init_from_model(loaded, settings)
    memory = llama_cpp.llama_get_memory(engine)
    batch = llama_cpp.llama_batch_init(CONTEXT, 0, 1)

    def decode(tokens):
        """Tokens as (id, position, sequence, whether its logits are wanted)."""
        batch.n_tokens = len(tokens)
        for index, (token, position, sequence, wanted) in enumerate(tokens):
            batch.token[index], batch.pos[index] = token, position
            batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
            batch.logits[index] = wanted
        assert llama_cpp.llama_decode(engine, batch) == 0, "llama.cpp refused a batch"

    def prefill(sequence=0):
        llama_cpp.llama_memory_seq_rm(memory, sequence, 0, -1)
        decode([(token, at, sequence, at == CONTEXT - 1) for at, token in enumerate(context)])

    def step(tokens):
        def run():
            decode(tokens)
            for sequence in {token[2] for token in tokens}:
                llama_cpp.llama_memory_seq_rm(memory, sequence, CONTEXT, -1)

        return run

    prefill()
    logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(engine), (model.config.vocab_size,))
    off = float(abs(logits - model(prompt(model, CONTEXT)).logits[0, -1].numpy()).max())
    assert off < (0.05 if precision == "f32" else 2.0), f"llama.cpp computes something else: logits differ by {off}"
    figures = {
        "prefill_256": timed(prefill),
        "decode": timed(step([(context[0], CONTEXT, 0, True)])),
        "verify_8": timed(step([(context[row], CONTEXT + row, 0, True) for row in range(8)])),
    }
    for sequence in range(1, BATCH):
        prefill(sequence)
    figures["decode_batch_8"] = timed(step([(context[0], CONTEXT, sequence, True) for sequence in range(BATCH)]))
    return figures


def msao(folder, threads, precision, _scratch):
    program = os.environ.get("MSAO_STEP_TIMES", ROOT / "target/release/examples/step_times")
    command = [program, folder, "cpu", "--threads", str(threads), "--weights-format", precision, "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    names = {"decode": "decode_b1", "decode_batch_8": "decode_b8"}
    median = 0
    return {name: told[names.get(name, name)][median] for name in FIGURES}


ENGINES = {
    "msao": (msao, ["f32", "f16", "int8"]),
    "pytorch": (pytorch, ["f32"]),
    "onnxruntime": (onnxruntime, ["f32"]),
    "llama.cpp": (llama_cpp, ["f32", "f16", "int8"]),
}


def one(arguments):
    """One engine, in this process."""
    engine, threads, precision = arguments.only.split(",")
    run, _ = ENGINES[engine]
    print(json.dumps(run(arguments.checkpoint, int(threads), precision, Path(arguments.scratch))))


def table(results):
    lines = ["| engine | threads | decode, ms | verify 8, ms (steps) | decode batch 8, ms (tokens/s of batch 1) | prefill 256, ms |", "|---|---:|---:|---:|---:|---:|"]
    for (engine, precision, threads), figures in results.items():
        decode, verify, batch, prefill = (figures[name] for name in FIGURES)
        lines.append(
            f"| {engine} {precision} | {threads} | {decode:.2f} | {verify:.2f} ({verify / decode:.2f}) "
            f"| {batch:.2f} ({BATCH * decode / batch:.1f}x) | {prefill:.1f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/weights/pocket-cloud")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--scratch", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        return one(arguments)

    gathered, left_out = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for round_ in range(arguments.rounds):
            for engine in arguments.engines.split(","):
                for precision in ENGINES[engine][1]:
                    for threads in arguments.threads.split(","):
                        key = (engine, precision, threads)
                        if key in left_out:
                            continue
                        print(f"round {round_ + 1}: {engine} {precision}, {threads} threads", file=sys.stderr)
                        ran = subprocess.run(
                            [sys.executable, __file__, "--checkpoint", arguments.checkpoint, "--scratch", scratch,
                             "--only", ",".join((engine, threads, precision))],
                            capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": threads})
                        if ran.returncode:
                            left_out[key] = (ran.stderr.strip().splitlines() or ["no output"])[-1]
                            print(f"  left out: {left_out[key]}", file=sys.stderr)
                        else:
                            gathered.setdefault(key, []).append(json.loads(ran.stdout.splitlines()[-1]))
    results = {
        key: {name: statistics.median(one[name] for one in rounds) for name in FIGURES} for key, rounds in gathered.items()
    }
    print(table(results))
    if arguments.out:
        rows = [
            {"engine": engine, "precision": precision, "threads": int(threads), **figures, "rounds": len(gathered[engine, precision, threads])}
            for (engine, precision, threads), figures in results.items()
        ]
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")
    for (engine, precision, threads), why in left_out.items():
        print(f"left out: {engine} {precision}, {threads} threads: {why}")


if __name__ == "__main__":
    main()

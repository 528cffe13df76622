"""A checkpoint's parts as the graphs that onnxruntime and transformers.js run, from the modules of `transformers`."""

import torch


class Decoder(torch.nn.Module):
    """The text decoder with its keys and values as inputs and outputs.

    embeddings [batch, rows, hidden], positions [batch, rows]; past: keys and values of each layer in turn, [batch, kv heads,
    held, head dim]. Logits are of the last `kept` rows.
    """

    def __init__(self, model, head):
        super().__init__()
        self.model = model
        self.head = head

    def forward(self, embeddings, positions, kept, *past):
        config = self.model.config
        width = config.head_dim
        groups = config.num_attention_heads // config.num_key_value_heads
        cos, sin = self.model.rotary_emb(embeddings, positions)
        batch, rows, held = embeddings.shape[0], embeddings.shape[1], past[0].shape[2]
        reach = torch.arange(held + rows)[None, :] <= torch.arange(rows)[:, None] + held
        mask = torch.where(reach, 0.0, float("-inf"))
        hidden, present = embeddings, []
        for index, layer in enumerate(self.model.layers):
            attention = layer.self_attn
            x = layer.input_layernorm(hidden)
            q, k, v = (
                project(x).view(batch, rows, -1, width).transpose(1, 2)
                for project in (attention.q_proj, attention.k_proj, attention.v_proj)
            )
            q, k = turned(q, cos, sin), turned(k, cos, sin)
            k = torch.cat([past[2 * index], k], 2)
            v = torch.cat([past[2 * index + 1], v], 2)
            present += [k, v]
            scores = q @ k.repeat_interleave(groups, 1).transpose(2, 3) * width**-0.5 + mask
            mixed = (scores.softmax(-1) @ v.repeat_interleave(groups, 1)).transpose(1, 2)
            hidden = hidden + attention.o_proj(mixed.reshape(batch, rows, -1))
            hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
        last = hidden.index_select(1, torch.arange(rows - kept, rows))
        return self.head(self.model.norm(last)), *present


def turned(x, cos, sin):
    """Rotary positions, the halves of a head against each other."""
    half = x.shape[-1] // 2
    return x * cos[:, None] + torch.cat([-x[..., half:], x[..., :half]], -1) * sin[:, None]


def export_decoder(model, head, path, *, with_embedding=None):
    """Writes the decoder; with `with_embedding` it takes ids, else `inputs_embeds`, by the names that transformers.js knows."""
    config = model.config
    decoder = Decoder(model, head)

    class FromIds(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.decoder = with_embedding, decoder

        def forward(self, ids, *rest):
            return self.decoder(self.embed(ids), *rest)

    empty = torch.zeros(1, config.num_key_value_heads, 3, config.head_dim)
    past = [f"past_key_values.{layer}.{what}" for layer in range(config.num_hidden_layers) for what in ("key", "value")]
    present = [name.replace("past_key_values", "present") for name in past]
    first = "input_ids" if with_embedding is not None else "inputs_embeds"
    example = torch.full((1, 2), 9) if with_embedding is not None else torch.zeros(1, 2, config.hidden_size)
    rows = {0: "batch", 1: "rows"}
    torch.onnx.export(
        FromIds() if with_embedding is not None else decoder,
        (example, torch.tensor([[3, 4]]), torch.tensor(1), *[empty] * len(past)), str(path),
        dynamo=False, opset_version=17,
        input_names=[first, "position_ids", "num_logits_to_keep", *past], output_names=["logits", *present],
        dynamic_axes={first: rows, "position_ids": rows, "logits": rows}
        | {name: {0: "batch", 2: "held"} for name in past} | {name: {0: "batch", 2: "positions"} for name in present},
    )

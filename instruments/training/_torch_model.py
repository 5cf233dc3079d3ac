"""A small model like Llama in PyTorch, and how many operations a token takes in it.

Source: Touvron et al., LLaMA (RMSNorm, rotary embedding, SwiGLU); Ainslie et al., GQA; FLOP per token of forward and
backward after Chowdhery et al., PaLM, appendix B.
"""

# mypy: ignore-errors
# Its types are torch's, which is not there where this package is checked.

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

_BASE = 10_000.0


class Attention(nn.Module):
    """Causal attention with fewer heads for keys and values than for queries."""

    def __init__(self, its: dict[str, Any]) -> None:
        super().__init__()
        self.heads, self.kv_heads = its["heads"], its["kv_heads"]
        self.width = its["hidden"] // self.heads
        self.eager = its["attention"] == "eager"
        self.q = nn.Linear(its["hidden"], its["hidden"], bias=False)
        self.k = nn.Linear(its["hidden"], self.kv_heads * self.width, bias=False)
        self.v = nn.Linear(its["hidden"], self.kv_heads * self.width, bias=False)
        self.out = nn.Linear(its["hidden"], its["hidden"], bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        batch, length, hidden = x.shape
        q = _turned(self.q(x).view(batch, length, self.heads, self.width).transpose(1, 2), turn)
        k = _turned(self.k(x).view(batch, length, self.kv_heads, self.width).transpose(1, 2), turn)
        v = self.v(x).view(batch, length, self.kv_heads, self.width).transpose(1, 2)
        k, v = (one.repeat_interleave(self.heads // self.kv_heads, dim=1) for one in (k, v))
        if self.eager:
            scores = q @ k.transpose(2, 3) / self.width**0.5
            scores = scores + torch.full_like(scores, float("-inf")).triu(1)
            seen = scores.softmax(-1) @ v
        else:
            seen = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(seen.transpose(1, 2).reshape(batch, length, hidden))


class Block(nn.Module):
    """Attention, then a gated feed-forward part, each behind a norm and added to what came in."""

    def __init__(self, its: dict[str, Any]) -> None:
        super().__init__()
        self.before_attention, self.before_ffn = nn.RMSNorm(its["hidden"]), nn.RMSNorm(its["hidden"])
        self.attention = Attention(its)
        self.gate = nn.Linear(its["hidden"], its["ffn"], bias=False)
        self.up = nn.Linear(its["hidden"], its["ffn"], bias=False)
        self.down = nn.Linear(its["ffn"], its["hidden"], bias=False)

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        x = x + self.attention(self.before_attention(x), turn)
        inner = self.before_ffn(x)
        return x + self.down(F.silu(self.gate(inner)) * self.up(inner))


class Model(nn.Module):
    """Token ids in, logits out; input embedding and output are not tied."""

    def __init__(self, its: dict[str, Any]) -> None:
        super().__init__()
        self.embedding = nn.Embedding(its["vocabulary"], its["hidden"])
        self.blocks = nn.ModuleList(Block(its) for _ in range(its["layers"]))
        self.norm = nn.RMSNorm(its["hidden"])
        self.output = nn.Linear(its["hidden"], its["vocabulary"], bias=False)
        width = its["hidden"] // its["heads"]
        angle = torch.outer(torch.arange(its["length"]), _BASE ** (-torch.arange(0, width, 2) / width))
        self.register_buffer("cosine", angle.cos().repeat(1, 2), persistent=False)
        self.register_buffer("sine", angle.sin().repeat(1, 2), persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embedding(ids)
        turn = (self.cosine.to(x.dtype), self.sine.to(x.dtype))
        for block in self.blocks:
            x = block(x, turn)
        return self.output(self.norm(x))


def _turned(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rotary embedding of the halves of each head."""
    first, second = x.chunk(2, dim=-1)
    return x * turn[0] + torch.cat((-second, first), dim=-1) * turn[1]


def counted(its: dict[str, Any]) -> dict[str, float]:
    """FLOP per token of forward and backward as torch counts them, with attention written out, beside the formula."""
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"):  # shapes are all that is counted
        model = Model({**its, "attention": "eager"})
        ids = torch.zeros((1, its["length"]), dtype=torch.int64)
        with FlopCounterMode(display=False) as counter:
            F.cross_entropy(model(ids).flatten(0, 1), ids.flatten()).backward()
    products = sum(one.weight.numel() for one in model.modules() if isinstance(one, nn.Linear))
    formula = 6 * products + 12 * its["layers"] * its["hidden"] * its["length"]
    return {"counted": counter.get_total_flops() / ids.numel(), "formula": float(formula)}

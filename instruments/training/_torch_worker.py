"""One process of a training run in PyTorch: a small model like Llama on data that can be learnt, for torchrun to start.

A script of its own that needs torch alone, as the torch of the platform may live in another environment:
`torchrun … _torch_worker.py CONFIGURATION`, or without torchrun where it trains alone. Rank 0 reads one JSON object a
line, {"warm_up": steps, "steps": steps}, and the end of its input ends the run. It writes lines that begin with MARK:
once "ready", each "step", each "window".

Source: torchrun, DistributedDataParallel and fully_shard of PyTorch 2.6 or later.
"""

# mypy: ignore-errors
# Its types are torch's, which is not there where this package is checked.

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - as everybody writes it

# A script has its neighbours on the path, and no package.
from _torch_model import Model, counted  # isort: skip

MARK = "@training "
BACK_ENDS = {"cpu": "gloo", "cuda": "nccl", "npu": "hccl"}
_STRIDES = 16
_WORDS = 256
"""Tokens that occur: few enough that a few steps show whether anything is learnt, however many the model has."""
_KEPT = 16
"""Of these tokens, those with which the sequences begin that are never trained on, and no others do."""
_LEARNING_RATE = 0.256
"""Of a model one wide: a step moves what a layer gives by its rate times its width, and too far learns nothing."""
_CLIP = 1.0
_PROBE = 4


class Run:
    """The model, its data and its optimizer on this rank."""

    def __init__(self, its: dict[str, Any]) -> None:
        self.its = its
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.device = torch.device(its["device"], dist.get_node_local_rank() if its["device"] != "cpu" else None)
        self.flop = counted(its) if self.rank == 0 else None
        torch.manual_seed(its["seed"])
        with self.device:
            model = Model(its)
        self.parameters = sum(one.numel() for one in model.parameters())
        self.in_products = sum(one.weight.numel() for one in model.modules() if isinstance(one, nn.Linear))
        self.model = self._shared(model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=_LEARNING_RATE / its["hidden"])
        self.data = torch.Generator().manual_seed(1_000_003 * (its["seed"] + 1) + self.rank)
        self.done = 0
        self.words = min(_WORDS, its["vocabulary"])
        begins = (self.words - min(_KEPT, self.words // 2), self.words)
        self._kept = self._rows(_PROBE, begins, torch.Generator().manual_seed(its["seed"]))
        self._begins = (0, begins[0])
        self.probe = self._probed()

    def _shared(self, model: nn.Module) -> nn.Module:
        if self.its["strategy"] == "fsdp":
            from torch.distributed.fsdp import fully_shard

            for block in model.blocks:
                fully_shard(block)
            return fully_shard(model)
        return nn.parallel.DistributedDataParallel(model) if self.world > 1 else model

    def _rows(self, rows: int, begins: tuple[int, int], random: torch.Generator) -> Tensor:
        """Sequences that count up by a stride from a token of `begins`: the next one can be learnt."""
        start = torch.randint(*begins, (rows, 1), generator=random)
        stride = torch.randint(1, _STRIDES + 1, (rows, 1), generator=random)
        return (start + stride * torch.arange(self.its["length"] + 1)) % self.words

    def step(self) -> tuple[int, Tensor, Tensor]:
        """One optimizer step; return the tokens that went in here, loss and gradient norm."""
        ids = self._rows(self.its["batch"] // self.world, self._begins, self.data).to(self.device)
        loss = self._loss(ids)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), _CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.done += 1
        return ids[:, :-1].numel(), loss.detach(), norm.detach()

    def _loss(self, ids: Tensor) -> Tensor:
        with self._precision():
            logits = self.model(ids[:, :-1])
            return F.cross_entropy(logits.flatten(0, 1).float(), ids[:, 1:].flatten())

    def _probed(self) -> float:
        """Loss on sequences that stay the same and are never trained on."""
        with torch.no_grad():
            return float(self._loss(self._kept.to(self.device)))

    def window(self, warm_up: int, steps: int) -> dict[str, Any]:
        """Let `warm_up` steps pass, then time `steps` from a moment to a moment that all ranks share."""
        for _ in range(warm_up):
            self._told(self.step()[1])
        weights = self._weights()
        self._together()
        began = time.monotonic_ns()
        tokens, losses, norms = 0, [], []
        for _ in range(steps):
            taken, loss, norm = self.step()
            tokens += taken
            losses.append(loss)
            norms.append(norm)
            self._told(loss)
        self._together()
        ended = time.monotonic_ns()
        lengths = self._of_all(ended - began)
        return {
            "first": self.done - steps,
            "last": self.done,
            "began_ns": began,
            "ended_ns": ended,
            "longest_ns": max(lengths),
            "shortest_ns": min(lengths),
            "tokens": sum(self._of_all(tokens)),
            "losses": [float(one) for one in losses],
            "probe": self._probed(),
            "gradient_norms": [float(_whole(one)) for one in norms],
            "weights_before": weights,
            "weights_after": self._weights(),
        }

    def _precision(self) -> Any:
        if self.its["precision"] == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _told(self, loss: Tensor) -> None:
        """Tell of a step as it ends; its loss only where reading it stops no device."""
        known = float(loss) if self.device.type == "cpu" else None
        if self.rank == 0:
            tell("step", step=self.done, ended_ns=time.monotonic_ns(), loss=known)

    def _together(self) -> None:
        if self.device.type != "cpu":
            getattr(torch, self.device.type).synchronize()
        dist.barrier()

    def _of_all(self, number: int) -> list[int]:
        mine = torch.tensor([number], dtype=torch.int64, device=self.device)
        others = [torch.zeros_like(mine) for _ in range(self.world)]
        dist.all_gather(others, mine)
        return [int(one) for one in others]

    def _weights(self) -> list[str]:
        """A sum over the weights of each rank, to see that a step changed them and that replicas agree."""
        mine = sum(_local(one.detach()).double().abs().sum() for one in self.model.parameters())
        held = torch.as_tensor(mine, dtype=torch.float64).cpu().reshape(1)
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, float(held).hex())
        return found


def _local(weight: Tensor) -> Tensor:
    return weight.to_local() if hasattr(weight, "to_local") else weight


def _whole(norm: Tensor) -> Tensor:
    return norm.full_tensor() if hasattr(norm, "full_tensor") else norm


def tell(kind: str, **facts: Any) -> None:
    """Write one line for the driver."""
    os.write(1, f"{MARK}{json.dumps({'kind': kind, **facts})}\n".encode())


def _asked(rank: int) -> dict[str, Any] | None:
    """What to do next, the same on every rank; None when the input has ended."""
    line = sys.stdin.readline() if rank == 0 else ""
    held = [json.loads(line) if line.strip() else None]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def main() -> None:
    """Train as the configuration says until the input ends."""
    its = json.loads(sys.argv[1])
    torch.set_num_threads(its["threads"])
    if its["device"] == "npu":
        import torch_npu  # noqa: F401 - registers the device
    alone = {"store": dist.HashStore(), "rank": 0, "world_size": 1} if its["alone"] else {}
    dist.init_process_group(BACK_ENDS[its["device"]], **alone)
    if its["device"] != "cpu":
        getattr(torch, its["device"]).set_device(dist.get_node_local_rank())
    try:
        run = Run(its)
        if run.rank == 0:
            name = "cpu" if its["device"] == "cpu" else getattr(torch, its["device"]).get_device_name()
            versions = {"torch": torch.__version__, "python": sys.version.split()[0], "device": name}
            counts = {
                "parameters": run.parameters,
                "in_products": run.in_products,
                "world": run.world,
                "probe": run.probe,
                "words": run.words,
            }
            tell("ready", flop=run.flop, versions=versions, **counts)
        while (asked := _asked(run.rank)) is not None:
            result = run.window(asked["warm_up"], asked["steps"])
            if run.rank == 0:
                tell("window", **result)
    finally:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()

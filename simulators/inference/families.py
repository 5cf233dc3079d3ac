"""How families of inference servers differ on the wire (software_standards.md B.2, B.5); data, standard library alone.

Read in the public sources and pages of the engines: the names of their metrics, and that TGI and llama.cpp count a
request's generated tokens when it ends, vLLM as they come. Assumed, as nothing retrievable tells it: that TGI takes
neither `ignore_eos` nor `min_tokens` on its OpenAI paths, and that it and llama.cpp serve any model name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Usage = Literal["asked", "joined", "never"]
"""Where a stream tells usage: in a chunk of its own if asked for, always in the last chunk of text, or nowhere."""


@dataclass(frozen=True)
class Family:
    """One family of servers.

    version_path: where its build is told, and version_fields: under which keys. done: whether a stream ends by
    `data: [DONE]`. end_control: fields of a request that keep the end of the text from coming early. checks_model:
    whether an unknown model is refused. metrics: prefix of its metrics, "" = serves none. counts_at_end: generated
    tokens are counted when a request ends. bare_unauthorised: the error of status 401 is a text, not an object.
    """

    name: str
    version_path: str
    version_fields: tuple[str, ...]
    usage: Usage
    done: bool
    end_control: frozenset[str]
    checks_model: bool
    metrics: str
    counts_at_end: bool = False
    bare_unauthorised: bool = False


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "vllm",
            "/version",
            ("version",),
            "asked",
            True,
            frozenset({"ignore_eos", "min_tokens"}),
            True,
            "vllm:",
            bare_unauthorised=True,
        ),
        Family("tgi", "/info", ("version",), "asked", True, frozenset(), False, "tgi_", counts_at_end=True),
        Family(
            "llama.cpp",
            "/props",
            ("build_info",),
            "asked",
            True,
            frozenset({"ignore_eos"}),
            False,
            "llamacpp:",
            counts_at_end=True,
        ),
        Family("llama-cpp-python", "", (), "never", True, frozenset({"min_tokens", "logit_bias"}), False, ""),
        Family("transformers", "", (), "joined", False, frozenset(), True, ""),
    )
}

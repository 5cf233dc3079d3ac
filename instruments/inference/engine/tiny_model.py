"""Make a tiny random Llama with a tokenizer of its own, in the folder that is named; no model hub is asked.

The tokenizer knows ASCII only: a random model with a byte alphabet writes what is no UTF-8, which servers hold back.
The model knows no end of a text: by chance it would end one early, and this engine takes no `ignore_eos`.
"""

from __future__ import annotations

import importlib
import random
import sys
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def library(name: str) -> Any:
    """Import a library whose types are none of this project's business."""
    return importlib.import_module(name)


def make(folder: Path) -> None:
    """Write model and tokenizer; the same ones every time."""
    torch, tokenizers, transformers = (library(name) for name in ("torch", "tokenizers", "transformers"))
    draw = random.Random(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["".join(draw.choices(letters, k=draw.randint(2, 8))) for _ in range(500)]
    byte_level = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted({byte_level.pre_tokenize_str(chr(code))[0][0] for code in [*range(32, 127), 10]})
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = byte_level
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    specials = ["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"]
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=512, initial_alphabet=alphabet, special_tokens=specials)
    tokenizer.train_from_iterator([" ".join(draw.choices(words, k=40)) for _ in range(500)], trainer)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", chat_template=TEMPLATE
    )
    torch.manual_seed(0)
    shape = transformers.LlamaConfig(
        vocab_size=len(wrapped),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=2048,
        bos_token_id=0,
        eos_token_id=None,
        pad_token_id=2,
        tie_word_embeddings=False,
    )
    transformers.LlamaForCausalLM(shape).save_pretrained(folder)
    wrapped.save_pretrained(folder)


if __name__ == "__main__":
    make(Path(sys.argv[1]))

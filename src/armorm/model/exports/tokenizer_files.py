"""The tokenizer of an export: the files of the backbone, with what batches and templates need."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from armorm.errors import FeatureError
from armorm.features.chat import TokenizedConversation, render_conversation
from armorm.features.template import DATE_MACRO
from armorm.model.exports.checkpoint import read_json
from armorm.storage import json_bytes
from armorm.types import Conversation

_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
)
_LEGAL = ("LICENSE*", "NOTICE*", "USE_POLICY*")
_SPARE = ("pad", "reserved", "unused", "unk")  # parts of names of tokens that may pad, best first


class Pad(NamedTuple):
    """The token that fills batches up."""

    token: str
    """As text."""
    id: int
    """In the vocabulary."""


def choose_pad(
    tokenizer: Any, rows: Sequence[TokenizedConversation], *, vocab_size: int, name: str
) -> Pad:
    """Choose a padding token that no conversation holds.

    Classifiers find the end of a row by the padding token alone. Where it is also the token
    that closes a conversation, as `tokenizer.pad_token = tokenizer.eos_token` has it, they
    read one token too early.

    Args:
        tokenizer: Of the backbone.
        rows: Conversations as token ids.
        vocab_size: Number of embeddings; a token beyond has none.
        name: Of the backbone, for the error.

    Returns:
        The tokenizer's own padding token where it will do; else a special token that is
        reserved for such a purpose.

    Raises:
        FeatureError: there is none.
    """
    used = {i for row in rows for i in row.token_ids}
    own = tokenizer.pad_token_id
    if own is not None and own not in used and own < vocab_size:
        return Pad(str(tokenizer.pad_token), int(own))
    added = {int(i): str(token) for i, token in tokenizer.added_tokens_decoder.items()}
    for part in _SPARE:
        for i, token in sorted(added.items()):
            if part in token.lower() and i not in used and i < vocab_size:
                return Pad(token, i)
    raise FeatureError(
        f"{name}: batches of an export need a padding token that no conversation holds; the "
        f"tokenizer has {tokenizer.pad_token!r} and no reserved token in its place: add one to "
        "the tokenizer"
    )


def fixed_template(
    tokenizer: Any, conversations: Sequence[Conversation], rows: Sequence[TokenizedConversation]
) -> str | None:
    """Return a chat template that says itself what armorm adds to the text, where it adds any.

    That is the date of templates that print today's, which features must not depend on, and
    the BOS of tokenizers whose template leaves it out: tools that tokenise the text of a
    template without special tokens would lose it.

    Args:
        tokenizer: Of the backbone.
        conversations: n conversations.
        rows: The same as token ids.

    Returns:
        The template; None where the tokenizer's own does.
    """
    template = str(tokenizer.get_chat_template())
    text = render_conversation(tokenizer, conversations[0]).text
    plain = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    adds_bos = rows[0].token_ids[0] == tokenizer.bos_token_id and plain[:1] != [
        rows[0].token_ids[0]
    ]
    head = "{{- bos_token -}}" * adds_bos + DATE_MACRO * ("strftime_now" in template)
    return head + template if head else None


def write_tokenizer(folder: Path, *, source: Path, pad: Pad, template: str | None) -> None:
    """Copy the tokenizer files of a backbone, with its licence, and set what an export needs.

    Files are copied and not written anew by a library, so that they load wherever they did.

    Args:
        folder: Of the export.
        source: Of the backbone.
        pad: The padding token.
        template: A chat template in place of the backbone's; None keeps it.

    """
    for name in _FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    for pattern in _LEGAL:
        for path in sorted(source.glob(pattern)):
            shutil.copyfile(path, folder / path.name)
    config = read_json(folder / "tokenizer_config.json")
    config |= {"pad_token": pad.token, "padding_side": "right"}
    # The names that only transformers 5 knows, in words that 4.57 and 5 both read.
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(config.get("extra_special_tokens"), list):
        config["additional_special_tokens"] = config.pop("extra_special_tokens")
    if template is not None:
        config["chat_template"] = template
        if (folder / "chat_template.jinja").is_file():
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    (folder / "tokenizer_config.json").write_bytes(json_bytes(config))
    if special := read_json(folder / "special_tokens_map.json"):
        special["pad_token"] = pad.token
        (folder / "special_tokens_map.json").write_bytes(json_bytes(special))

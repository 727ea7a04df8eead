"""A conversation as the text of a chat template, and where its prompt ends in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from armorm.errors import FeatureError
from armorm.features.checkpoint import first_line
from armorm.types import Conversation, Prompt

# Some templates print today's date, and features must not depend on the day. They get the
# one that the Llama-3.1 template falls back to: as `date_string`, and as what a macro of this
# name returns, which shadows the function (a template may not be given functions).
_DATE = "26 Jul 2024"
_DATE_PARTS = {
    "%d": "26",
    "%b": "Jul",
    "%B": "July",
    "%m": "07",
    "%Y": "2024",
    "%y": "24",
    "%a": "Fri",
    "%A": "Friday",
    "%H": "00",
    "%M": "00",
    "%S": "00",
}
DATE_MACRO = (
    "{%- macro strftime_now(format) -%}{{- format"
    + "".join(f" | replace('{part}', '{text}')" for part, text in _DATE_PARTS.items())
    + " -}}{%- endmacro -%}"
)

# Two responses that no template can take for the same text or for white space.
_PROBES = ("A", "Z")


@dataclass(frozen=True, slots=True)
class RenderedConversation:
    """Prompt plus response as the text of the chat template."""

    text: str
    """The whole conversation."""
    prompt_end: int
    """Number of characters up to and with the last non-white-space one of the prompt."""
    response_start: int
    """Number of characters that are the same for every response to this prompt."""


def render_conversation(tokenizer: Any, conversation: Conversation) -> RenderedConversation:
    """Render a conversation through the chat template and find where its prompt ends.

    The prompt ends at the last non-white-space character of the prompt rendered without
    generation prompt. Where a template closes the last message differently once the
    conversation goes on (an end-of-text at the very end, say), it ends at the last
    character of the prompt's last message instead. Either way the place depends on the
    prompt alone: it is found with responses of our own.

    Args:
        tokenizer: A Hugging Face tokenizer with a chat template.
        conversation: The row.

    Returns:
        The text and the number of its characters that belong to the prompt.

    Raises:
        FeatureError: the prompt or the response is empty; the template refuses the
            conversation, ignores the response, or renders the prompt differently when a
            response follows.
    """
    return Renderer(tokenizer).render(conversation)


def check_tokenizer(tokenizer: Any) -> None:
    """Raise unless a tokenizer can say where a prompt ends.

    Args:
        tokenizer: A Hugging Face tokenizer.

    Raises:
        FeatureError: it is slow (no offsets) or has no chat template.
    """
    where = getattr(tokenizer, "name_or_path", "") or type(tokenizer).__name__
    if not getattr(tokenizer, "is_fast", False):
        raise FeatureError(
            f"{where}: the tokenizer must be a fast one, which knows the characters of every "
            f"token; got a {type(tokenizer).__name__}"
        )
    if not tokenizer.chat_template:
        raise FeatureError(
            f"{where}: the tokenizer has no chat template, which says where a prompt ends; use "
            "the instruction-tuned checkpoint, or put a `chat_template.jinja` into the folder"
        )


class Renderer:
    """Renders rows with one template, and each prompt once."""

    def __init__(self, tokenizer: Any) -> None:
        """Start with no prompt known.

        Args:
            tokenizer: A Hugging Face tokenizer with a chat template.
        """
        self._tokenizer = tokenizer
        template = tokenizer.get_chat_template()
        dated = "strftime_now" in template
        self._template = {"chat_template": DATE_MACRO + template} if dated else {}
        self._prompts: dict[Prompt, tuple[str, int]] = {}

    def render(self, conversation: Conversation) -> RenderedConversation:
        """Render one row; see `render_conversation`.

        Args:
            conversation: The row.

        Returns:
            The text and where its prompt ends.

        Raises:
            FeatureError: as `render_conversation`.
        """
        where = f"conversation {conversation.id!r}"
        _check_content(conversation, where)
        if conversation.prompt not in self._prompts:
            self._prompts[conversation.prompt] = self._find_end(conversation.prompt, where)
        fixed, prompt_end = self._prompts[conversation.prompt]
        text = self._apply(conversation.messages(), where)
        if not text.startswith(fixed[:prompt_end]):
            raise FeatureError(
                f"{where}: the chat template must render the prompt the same whatever the "
                f"response; it differs from character {_common(text, fixed)} on"
            )
        return RenderedConversation(text, prompt_end, _common(text, fixed))

    def _find_end(self, prompt: Prompt, where: str) -> tuple[str, int]:
        """Return the text that two responses share, and how much of it is the prompt."""
        alone = self._apply([{"role": m.role, "content": m.content} for m in prompt], where)
        first, second = (
            self._apply(Conversation(prompt, probe).messages(), where) for probe in _PROBES
        )
        if first == second:
            raise FeatureError(f"{where}: the chat template does not render the response")
        shared = first[: _common(first, second)]
        if shared.startswith(alone):
            return shared, len(alone.rstrip())
        # The template closes a conversation with something of its own, such as an
        # end-of-text: the prompt then ends with its content. Where that lies is found by
        # changing its first character, as a search could find the same words in a tag.
        content = prompt[-1].content.strip()
        other = "Z" if content[0] != "Z" else "Y"
        changed = [*prompt[:-1], prompt[-1]._replace(content=other + content[1:])]
        start = _common(alone, self._apply([m._asdict() for m in changed], where))
        end = start + len(content)
        if alone[start:end] != content or not shared.startswith(alone[:end]):
            raise FeatureError(
                f"{where}: the chat template must render the prompt as the beginning of the "
                f"conversation; they differ from character {_common(shared, alone)} on: "
                f"{alone[_common(shared, alone) :][:40]!r} alone, "
                f"{shared[_common(shared, alone) :][:40]!r} with a response"
            )
        return shared, end

    def _apply(self, messages: list[dict[str, str]], where: str) -> str:
        """Render messages, located where the template raises."""
        try:
            text = self._tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=False,
                date_string=_DATE,
                **self._template,
            )
        except Exception as error:  # a template is a program, and fails in its own ways
            raise FeatureError(
                f"{where}: the chat template refused it: {first_line(error)}"
            ) from error
        return str(text)


def _check_content(conversation: Conversation, where: str) -> None:
    """Raise unless there is a prompt and the conversation ends in a response."""
    if not conversation.prompt:
        raise FeatureError(f"{where}: the prompt must have at least one message; it has none")
    for i, message in enumerate(conversation.prompt):
        if not message.content.strip():
            raise FeatureError(f"{where}: message {i} of the prompt ({message.role}) is empty")
    if not conversation.response.strip():
        raise FeatureError(f"{where}: must end in a response; the response is empty")


def _common(a: str, b: str) -> int:
    """Return the length of the common beginning, by bisection."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[:middle] == b[:middle] else (low, middle - 1)
    return low

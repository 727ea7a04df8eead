"""The released ArmoRM layout as one class over any decoder; this file runs without armorm.

An exported checkpoint carries a copy, so it imports torch, transformers and nothing else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput

# What closes the last user turn and opens the response, for configs that do not say; of the
# published scheme (RLHFlow/RLHF-Reward-Modeling at fc39179f, armo-rm).
_PATTERNS = {
    "llama": (128009, 128006, 78191, 128007, 271),
    "gemma2": (107, 108, 106, 2516, 108),
}

# What finding a config needs of the options that a model is loaded with.
_HUB_OPTIONS = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")


@dataclass
class ArmoRMOutput(ModelOutput):
    """Scores of B conversations and what they are made of."""

    # Not `Tensor | None`: accelerate rebuilds an output from one mapping.
    logits: Any = None
    """The scores, shape (B, 1), float32."""
    score: Tensor | None = None
    """The scores, shape (B,), float32."""
    rewards: Tensor | None = None
    """Objective scores before `reward_transform_matrix`, shape (B, K), float32."""
    gating_output: Tensor | None = None
    """Weights of the objectives, shape (B, K), float32; rows sum to `gating.logit_scale`."""
    prompt_embedding: Tensor | None = None
    """State at the last token of the prompt, shape (B, H), of the backbone's dtype."""
    hidden_state: Tensor | None = None
    """State at the last token of the conversation, shape (B, H), of the backbone's dtype."""


class _AnyName(str):
    """A name that differs from none."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = str.__hash__


class AnyDecoderConfig(PretrainedConfig):
    """Stands for the config of whichever decoder a checkpoint has.

    Where transformers (4.57 to 5.23) has no classifier of its own for a family, its auto class
    takes another only if the names of both config classes are the same.
    """


AnyDecoderConfig.__name__ = _AnyName(AnyDecoderConfig.__name__)


class _Linear(nn.Linear):
    """A linear map that is float32 and computes in float32, whatever its model is cast to."""

    def forward(self, input: Tensor) -> Tensor:
        """Map states, on the device of the weight."""
        x = input.to(self.weight.device, torch.float32)
        bias = self.bias.float() if isinstance(self.bias, Tensor) else None
        with torch.autocast(x.device.type, enabled=False):
            return functional.linear(x, self.weight.float(), bias)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "_Linear":
        return super()._apply(_keeping_dtype(fn), recurse)


class _Gating(nn.Module):
    """Prompt state -> softmax(MLP(state) / temperature) * logit_scale, over the objectives."""

    def __init__(self, widths: Sequence[int], temperature: float) -> None:
        super().__init__()
        self.temperature = temperature
        self.layers = nn.ModuleList(_Linear(i, o, dtype=torch.float32) for i, o in pairwise(widths))
        self.logit_scale = nn.Parameter(torch.ones(1, dtype=torch.float32))

    def forward(self, prompt_embedding: Tensor) -> Tensor:
        """Weigh the objectives; shape (B, H) -> (B, K)."""
        x = prompt_embedding
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        weights = functional.softmax(self.layers[-1](x) / self.temperature, dim=-1)
        return weights * self.logit_scale[0].float().to(weights.device)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "_Gating":
        return super()._apply(_keeping_dtype(fn), recurse)


class ArmoRMForSequenceClassification(PreTrainedModel):
    """A decoder with a ridge head, a debias matrix and a gate: score = gating . (r D).

    With h the final-norm states, r = W h[last] and g = softmax(MLP(h[end]) / temperature)
    times `logit_scale`, where `end` is the token at which the last `gating_token_pattern`
    begins: score = sum_j g_j (r D)_j. The heads stay float32. Config keys: `num_objectives`,
    `gating_temperature` (default 10), `gating_hidden_dim` (1024) and `gating_n_hidden` (3) or
    `gating_hidden` (widths one by one), `gating_token_pattern` (token ids), and
    `objective_names`, which is not read here.

    Source:
        arXiv 2406.12845; the state dict of RLHFlow/ArmoRM-Llama3-8B-v0.1. Other than its
        remote code: `logits` is (B, 1), heads are never cast, padding is found on either
        side with or without a mask, and no row is looked at in Python.
    """

    config_class = AnyDecoderConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = False
    # The backbone says no where one of them does not suit it.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 (as transformers has it)
    _keep_in_fp32_modules_strict = [  # noqa: RUF012
        "regression_layer",
        "reward_transform_matrix",
        "gating",
    ]

    def __init__(self, config: Any) -> None:
        """Build the backbone and the heads that a config describes.

        Args:
            config: Of any decoder, with the keys of the class.

        Raises:
            ValueError: sizes that are not positive; a pattern that is no list of token ids,
                or none where none is known for the family.
        """
        super().__init__(config)
        text = config.get_text_config()
        k, h = _size(config, "num_objectives"), text.hidden_size
        self.gating_token_pattern = _token_pattern(config, text)
        # The kernel of torch leaves a soft cap out (Gemma-2).
        capped = getattr(text, "attn_logit_softcapping", None) is not None
        plain = getattr(config, "_attn_implementation", None) in (None, "sdpa")
        kernel = {"attn_implementation": "eager"} if capped and plain else {}
        self.model = AutoModel.from_config(config, dtype=torch.get_default_dtype(), **kernel)
        self._no_split_modules = list(self.model._no_split_modules or [])
        self.regression_layer = _Linear(h, k, bias=False, dtype=torch.float32)
        self.reward_transform_matrix = nn.Parameter(
            torch.eye(k, dtype=torch.float32), requires_grad=False
        )
        temperature = float(getattr(config, "gating_temperature", 10))
        if not 0 < temperature < float("inf"):
            raise ValueError(f"config: `gating_temperature` must be above 0; got {temperature!r}")
        self.gating = _Gating((h, *_hidden(config), k), temperature)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint; a weight that it lacks is an error, never a random value.

        Args:
            pretrained_model_name_or_path: As in transformers.
            *args: As in transformers.
            **kwargs: As in transformers.

        Returns:
            As in transformers.

        Raises:
            ValueError: the checkpoint lacks weights, or has some of other shapes.
        """
        if kwargs.get("config") is None:
            options = {name: kwargs[name] for name in _HUB_OPTIONS if name in kwargs}
            kwargs["config"] = AutoConfig.from_pretrained(pretrained_model_name_or_path, **options)
        asked = kwargs.pop("output_loading_info", False)
        kwargs |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # named below
        loaded: Any = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model, info = loaded
        wrong = [str(key) for key in info["missing_keys"]]
        wrong += [str(key if isinstance(key, str) else key[0]) for key in info["mismatched_keys"]]
        if wrong:
            shown = ", ".join(f"`{key}`" for key in sorted(wrong)[:5])
            raise ValueError(
                f"{pretrained_model_name_or_path}: the checkpoint must hold every weight; "
                f"{len(wrong)} are missing or of another shape: {shown}"
            )
        model.reward_transform_matrix.requires_grad_(False)  # transformers 5 loads it as trained
        return (model, info) if asked else model

    def _init_weights(self, module: nn.Module) -> None:
        """Start from no debias and a scale of 1; everything else as transformers does."""
        super()._init_weights(module)
        with torch.no_grad():
            if isinstance(module, _Gating) and not _is_loaded(module.logit_scale):
                module.logit_scale.fill_(1)
            if module is self and not _is_loaded(matrix := self.reward_transform_matrix):
                matrix.copy_(torch.eye(len(matrix), device=matrix.device))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Move or cast the backbone; the heads move and are not cast."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        return super()._apply(_keeping_dtype(fn), recurse=False)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        return_dict: bool | None = None,
        gating_positions: Tensor | None = None,
        **kwargs: Any,
    ) -> ArmoRMOutput | tuple[Tensor, ...]:
        """Score B conversations of up to L tokens, padded on either side.

        Without a mask, tokens equal to the config's `pad_token_id` are padding where they
        lead or trail. Where that id also ends a conversation (it is an `eos_token_id`), the
        first of the trailing ones is real; where it also begins one, the last of the leading.

        Args:
            input_ids: Shape (B, L).
            attention_mask: Shape (B, L), nonzero where a token is real.
            position_ids: Shape (B, L); counted over the real tokens by default.
            past_key_values: An empty cache, or None; a conversation is scored as a whole.
            inputs_embeds: Refused: the prompt's end is found among token ids.
            labels: Refused: the loss is of pairs and not of single conversations.
            use_cache: Passed on.
            return_dict: False for a tuple in the order of `ArmoRMOutput`.
            gating_positions: Shape (B,). Index of the last token of each prompt, where it is
                known; the pattern is not looked for then.
            **kwargs: Passed on to the backbone.

        Returns:
            Scores and their parts. Under `torch.compile` a row without a prompt's end has
            NaN as its score, as graphs cannot raise.

        Raises:
            ValueError: `input_ids` that are not (B, L); a mask of another shape; embeddings,
                labels or a filled cache; several rows without mask and without pad token;
                rows without tokens, without the pattern, or with a position outside of them.
        """
        ids = _check_inputs(input_ids, inputs_embeds, labels, past_key_values)
        real = _real_tokens(ids, attention_mask, self.config)
        if position_ids is None:
            position_ids = (real.long().cumsum(-1) - 1).clamp(min=0)
        end = _gating_positions(ids, real, gating_positions, self.gating_token_pattern)
        states = self.model(
            input_ids=ids,
            attention_mask=real.long(),
            position_ids=position_ids,
            past_key_values=past_key_values,
            use_cache=bool(use_cache),
            return_dict=True,
            **kwargs,
        )[0]
        last = _last_true(real).clamp(min=0)
        hidden, prompt = _states_at(states, last), _states_at(states, end.clamp(min=0))
        rewards = self.regression_layer(hidden)
        gating = self.gating(prompt).to(rewards.device)
        matrix = self.reward_transform_matrix.to(rewards.device, torch.float32)
        with torch.autocast(rewards.device.type, enabled=False):
            score = (gating * (rewards @ matrix)).sum(-1)
        score = score.masked_fill((end < 0).to(score.device), float("nan"))
        output = ArmoRMOutput(score[:, None], score, rewards, gating, prompt, hidden)
        if return_dict is None:
            return_dict = getattr(self.config, "return_dict", True)
        return output if return_dict else output.to_tuple()


def _check_inputs(ids: Any, embeds: Any, labels: Any, cache: Any) -> Tensor:
    """Return the token ids, or raise where something cannot be scored."""
    if embeds is not None:
        raise ValueError(
            "`inputs_embeds` cannot be scored: the end of the prompt is found among token ids; "
            "give `input_ids`"
        )
    if labels is not None:
        raise ValueError("`labels` must be None: this model has no loss of single conversations")
    if cache is not None and cache.get_seq_length() > 0:
        raise ValueError(
            "`past_key_values` must be empty: a conversation is scored as a whole; got "
            f"{int(cache.get_seq_length())} cached tokens"
        )
    if not isinstance(ids, Tensor) or ids.dim() != 2 or 0 in ids.shape:
        found = tuple(ids.shape) if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(f"`input_ids` must have shape (B, L), neither 0; got {found}")
    return ids


def _real_tokens(ids: Tensor, mask: Tensor | None, config: Any) -> Tensor:
    """Say which tokens are no padding, shape (B, L): as the mask says, or by the pad token."""
    if mask is not None:
        if mask.shape != ids.shape:
            raise ValueError(
                f"`attention_mask` must have the shape of `input_ids`, {tuple(ids.shape)}; got "
                f"{tuple(mask.shape)}"
            )
        real = mask.to(ids.device) != 0
    else:
        pad = _token_ids(config, "pad_token_id")
        if not pad and len(ids) > 1:
            raise ValueError(
                f"`attention_mask` must be given for {len(ids)} rows: the config has no "
                "`pad_token_id`, so their lengths are unknown"
            )
        real = _without_pads(ids, pad[0], config) if pad else torch.ones_like(ids).bool()
    _refuse_rows(~real.any(-1), "`input_ids` must hold a token that is no padding in every row")
    return real


def _without_pads(ids: Tensor, pad: int, config: Any) -> Tensor:
    """Say which tokens lie between the leading and the trailing run of a token."""
    is_pad = ids == pad
    leading = is_pad.long().cumprod(-1).bool()
    trailing = is_pad.flip(-1).long().cumprod(-1).flip(-1).bool()
    if pad in _token_ids(config, "eos_token_id"):  # one of them closes the conversation
        trailing = trailing & functional.pad(trailing, (1, 0))[:, :-1]
    if pad in _token_ids(config, "bos_token_id"):
        leading = leading & functional.pad(leading, (0, 1))[:, 1:]
    return ~(leading | trailing)


def _gating_positions(
    ids: Tensor, real: Tensor, given: Tensor | None, pattern: Sequence[int]
) -> Tensor:
    """Where each prompt ends, shape (B,); -1 where that is unknown and nothing can be raised."""
    length = ids.shape[1]
    if given is not None:
        end = torch.as_tensor(given, device=ids.device).long()
        if end.shape != ids.shape[:1]:
            raise ValueError(
                f"`gating_positions` must have shape ({len(ids)},); got {tuple(end.shape)}"
            )
        inside = (end >= 0) & (end < length)
        inside = inside & real.gather(1, end.clamp(0, length - 1)[:, None])[:, 0]
        _refuse_rows(~inside, "`gating_positions` must point at a token that is no padding")
        return end.where(inside, -1)
    found = torch.zeros_like(real)
    n = length - len(pattern) + 1
    if n > 0:
        wanted = torch.tensor(pattern, device=ids.device)
        starts = (ids.unfold(1, len(pattern), 1) == wanted).all(-1) & real[:, :n]
        found = functional.pad(starts, (0, length - n))
    end = _last_true(found)
    _refuse_rows(
        end < 0,
        f"`input_ids` must hold the tokens {list(pattern)} that end the prompt and open the "
        "response (`gating_token_pattern` of the config; another chat template, or a "
        "conversation that was cut, lacks them)",
    )
    return end


def _last_true(flags: Tensor) -> Tensor:
    """Index of the last true entry of each row, shape (B,); -1 where there is none."""
    positions = torch.arange(1, flags.shape[1] + 1, device=flags.device)
    return (flags * positions).amax(-1) - 1


def _states_at(states: Tensor, positions: Tensor) -> Tensor:
    """States (B, L, H) at one position a row, shape (B, H)."""
    rows = torch.arange(len(states), device=states.device)
    return states[rows, positions.to(states.device)]


def _refuse_rows(wrong: Tensor, must: str) -> None:
    """Raise with the numbers of the rows that are wrong; not in a graph, which cannot."""
    if torch.compiler.is_compiling() or not bool(wrong.any()):
        return
    rows = wrong.nonzero()[:, 0].tolist()
    more = f" and {len(rows) - 8} more" if len(rows) > 8 else ""
    raise ValueError(f"{must}; not so in rows {', '.join(map(str, rows[:8]))}{more}")


def _keeping_dtype(fn: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """Let a function move a tensor and not cast it."""

    def move(tensor: Tensor) -> Tensor:
        moved = fn(tensor)
        return moved if moved.dtype == tensor.dtype else tensor.to(moved.device)

    return move


def _is_loaded(tensor: Tensor) -> bool:
    """Say whether transformers has given a parameter its values, or has yet to make it."""
    return getattr(tensor, "_is_hf_initialized", False) or tensor.is_meta


def _size(config: Any, name: str, default: int | None = None) -> int:
    """Read a positive whole number."""
    size = getattr(config, name, default)
    if not isinstance(size, int) or size < 1:
        raise ValueError(f"config: `{name}` must be a positive whole number; got {size!r}")
    return size


def _hidden(config: Any) -> tuple[int, ...]:
    """Widths of the hidden layers of the gate."""
    given = getattr(config, "gating_hidden", None)
    if given is not None:
        if not all(isinstance(width, int) and width > 0 for width in given):
            raise ValueError(f"config: `gating_hidden` must be positive widths; got {given!r}")
        return tuple(given)
    if getattr(config, "gating_n_hidden", 3) == 0:
        return ()
    return (_size(config, "gating_hidden_dim", 1024),) * _size(config, "gating_n_hidden", 3)


def _token_pattern(config: Any, text: Any) -> tuple[int, ...]:
    """The tokens that end a prompt: as the config says, or of a family whose ids they are."""
    pattern = getattr(config, "gating_token_pattern", None)
    if pattern is None:
        pattern = _PATTERNS.get(config.model_type, ())
        if not pattern or max(pattern) >= text.vocab_size:
            raise ValueError(
                "config: `gating_token_pattern` must hold the token ids that end a prompt and "
                f"open the response; it is absent, and for {config.model_type!r} with "
                f"{text.vocab_size:,} tokens none is known"
            )
    if not pattern or not all(isinstance(i, int) and 0 <= i < text.vocab_size for i in pattern):
        raise ValueError(
            f"config: `gating_token_pattern` must be token ids below {text.vocab_size:,}; got "
            f"{list(pattern)!r}"
        )
    return tuple(pattern)


def _token_ids(config: Any, name: str) -> list[int]:
    """One token id, several or none, as a list."""
    found = getattr(config.get_text_config(), name, None)
    return list(found) if isinstance(found, list | tuple) else [] if found is None else [found]

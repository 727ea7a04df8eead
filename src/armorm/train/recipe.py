"""Reading a recipe: YAML, short forms, overrides, and every mistake at once with its key path.

It opens no data file and loads no backbone.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from armorm.data import DataSource
from armorm.data.text_measures import MEASURES
from armorm.errors import RecipeError, nearest
from armorm.train.config import TAGS, Recipe, ScaleRecipe, SourceRecipe

_SHORT_FORMS = {
    "BackboneRecipe": "a text or a mapping",
    "SourceRecipe": "a text or a mapping",
    "ScaleRecipe": "`[low, high]` or a mapping",
}
"""What may stand for a part of a recipe that is not always a mapping, by its class."""

_FORMS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
"""Types in the words of YAML, by pydantic's name of the error."""


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe file, apply `a.b=value` overrides and check all of it.

    Relative paths of data and bundles are taken from the recipe's folder.

    Args:
        path: A YAML file.
        overrides: Settings such as `gating.temperature=5`; the value is YAML, numbers
            in the key choose an element of a list.

    Returns:
        The recipe.

    Raises:
        RecipeError: the file does not exist, is not UTF-8 or not YAML; keys stand
            twice, are unknown or missing; values are out of range; names do not match.
            All mistakes are reported at once, one line each.
    """
    content = _expand(_read_yaml(path))
    mistakes = [m for item in overrides if (m := _override(content, item))]
    if mistakes:
        raise RecipeError(f"--set {m}" for m in mistakes)
    return parse_recipe(content, where=path.name, folder=path.parent)


def parse_recipe(content: Any, *, where: str = "recipe", folder: Path | None = None) -> Recipe:
    """Check a recipe that is already a mapping.

    Args:
        content: The mapping, as YAML gives it.
        where: Name of the recipe in error messages.
        folder: What relative paths are relative to; None leaves them as they are.

    Returns:
        The recipe.

    Raises:
        RecipeError: as `load_recipe`.
    """
    expanded = _expand(content)
    if not isinstance(expanded, dict):
        raise RecipeError([f"{where}: a recipe must be a mapping; got {type(content).__name__}"])
    try:
        recipe = Recipe.model_validate(expanded)
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A list whose items are mistakes is not short of items.
        lines = [_sentence(e) for e in found if e["type"] != "too_short" or not e["input"]]
        lines += _unknown_names_of(expanded)
        raise RecipeError(f"{where}: {line}" for line in dict.fromkeys(lines)) from None
    mistakes = [f"{where}: {m}" for m in _mismatches(recipe)]
    if mistakes:
        raise RecipeError(mistakes)
    return recipe if folder is None else _resolve(recipe, folder)


def _read_yaml(path: Path) -> Any:
    """Parse the file, with located errors."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise RecipeError([f"{path}: no such recipe"]) from None
    except IsADirectoryError:
        raise RecipeError([f"{path}: a recipe must be a file; this is a folder"]) from None
    except UnicodeDecodeError as error:
        raise RecipeError([f"{path}: a recipe must be UTF-8; byte {error.start} is not"]) from None
    except OSError as error:
        raise RecipeError([f"{path}: cannot be read: {error.strerror}"]) from None
    try:
        content = _parse(text)
    except _NotYaml as error:
        line = "" if error.line is None else f"{error.line}:"
        raise RecipeError([f"{path}:{line} not YAML: {error}"]) from None
    if content is None:
        raise RecipeError([f"{path}: the recipe is empty"])
    return content


class _NotYaml(Exception):
    """What is wrong with a text, and on which line, from 1, where that is known."""

    def __init__(self, problem: object, line: int | None = None) -> None:
        super().__init__(str(problem))
        self.line = line


def _parse(text: str) -> Any:
    """Parse YAML whose keys are distinct."""
    try:
        return yaml.load(text, Loader=_UniqueKeys)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        raise _NotYaml(error.problem, None if mark is None else mark.line + 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise _NotYaml(str(error).splitlines()[0], line) from None
    except RecursionError:
        raise _NotYaml("it is nested too deeply") from None
    except ValueError as error:  # a date or a number that is none, such as 2024-13-01
        raise _NotYaml(error) from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key that stands twice is a mistake, not a silent choice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build a mapping after checking its keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                continue
            key = key_node.value
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                problem = f"the key {key!r} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def _override(content: Any, item: str) -> str | None:
    """Apply one `a.b=value`; return what is wrong with it, if anything."""
    path, sign, text = item.partition("=")
    shown = _shown(item)
    if not sign or not path:
        return f"{shown}: must read key.path=value"
    try:
        value = _parse(text)
    except _NotYaml as error:
        return f"{shown}: the value is not YAML: {error}"
    node = content
    *parents, last = path.split(".")
    for part in parents:
        if isinstance(node, dict):
            if node.get(part) is None:
                node[part] = {}
            node = node[part]
        elif (place := _place(node, part)) is not None:
            node = node[place]
        else:
            return f"{shown}: there is no {_shown(part)} to go into"
    if isinstance(node, dict):
        node[last] = value
    elif (place := _place(node, last)) is not None:
        node[place] = value
    else:
        return f"{shown}: there is no {_shown(last)} to set"
    return None


def _place(node: Any, part: str) -> int | None:
    """The element of a list that a part of a key names."""
    if isinstance(node, list) and part.isascii() and part.isdecimal() and len(part) < 10:
        return int(part) if int(part) < len(node) else None
    return None


def _expand(content: Any) -> Any:
    """Replace the short forms of a mapping by the long ones, so that every mistake has one path."""
    if not isinstance(content, dict):
        return content
    full = dict(content)
    if isinstance(full.get("backbone"), str):
        full["backbone"] = {"name": full["backbone"]}
    for key in ("rated", "pairs", "decontaminate"):
        entries = full.get(key)
        if isinstance(entries, (str, dict)):
            entries = [entries]
        if isinstance(entries, list):
            full[key] = [{"path": e} if isinstance(e, str) else e for e in entries]
    if isinstance(full.get("scales"), dict):
        full["scales"] = {
            source: {name: _scale(scale) for name, scale in scales.items()}
            if isinstance(scales, dict)
            else scales
            for source, scales in full["scales"].items()
        }
    return full


def _scale(value: Any) -> Any:
    """`[low, high]` as a mapping; anything else unchanged."""
    if isinstance(value, list) and len(value) == 2:
        return {"low": value[0], "high": value[1]}
    return value


def _sentence(error: Any) -> str:
    """One pydantic error as `key.path: what must hold; what was found`."""
    location = [part for part in error["loc"] if part not in TAGS]
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "invalid_key" or location[-1] == "[key]":
        at = location[: -1 if kind == "invalid_key" else -2]
        return ".".join(map(str, at)) + ": " * bool(at) + f"keys must be texts; got {_shown(found)}"
    path = ".".join(str(p) for p in location)
    if kind == "extra_forbidden":
        known = _keys_at(location[:-1])
        return f"{path}: unknown key {location[-1]!r}{nearest(str(location[-1]), known)}"
    if kind == "missing":
        return f"{path}: this key must be there; it is missing"
    if kind == "value_error":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    if kind in _FORMS:
        two = kind == "string_type" and TAGS[1] in error["loc"]
        form = _SHORT_FORMS.get(context.get("class_name"), _FORMS[kind])
        message = f"must be {'a text or a mapping' if two else form}"
    elif kind == "too_short":
        message = f"must have at least {context['min_length']} item"
    elif kind == "too_long":
        message = f"must have at most {context['max_length']} items"
    else:  # a bound, a pattern or a choice, in words that fit
        message = "must" + error["msg"].partition("should")[2]
    return f"{path}: {message}; got {_shown(found)}"


def _shown(value: Any) -> str:
    """A value in a message, in the words of YAML, never longer than a line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        return _REPR.repr(value)
    except ValueError:  # a whole number of thousands of digits
        return "a number that is too long to show"


_REPR = reprlib.Repr()
_REPR.maxstring = _REPR.maxlong = _REPR.maxother = 80
_REPR.maxlevel = 3


def _keys_at(location: Sequence[Any]) -> list[str]:
    """Names of the keys that a recipe may have at a path."""
    model: Any = Recipe
    for part in location:
        if isinstance(part, int) or model is None:
            continue
        if model in (Recipe,) and part == "scales":
            model = ScaleRecipe
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = _part_of(field.annotation) if field is not None else model
    return list(getattr(model, "model_fields", {}))


def _part_of(annotation: Any) -> Any:
    """The recipe part inside an annotation such as `tuple[SourceRecipe, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        if (found := _part_of(inner)) is not None:
            return found
    return None


def _mismatches(recipe: Recipe) -> Iterable[str]:
    """Mistakes that only show when parts are held against each other."""
    of_key = {"rated": recipe.rated, "pairs": recipe.pairs, "decontaminate": recipe.decontaminate}
    for key, parts in of_key.items():
        for i, part in enumerate(parts):
            try:
                DataSource(**part.model_dump())
            except ValueError as error:
                yield f"{key}.{i}: {error}"
    objectives = recipe.objectives
    trains_ridge = not isinstance(recipe.ridge, str)
    if trains_ridge and not recipe.rated:
        yield "rated: the ridge head needs rated rows (or `ridge:` a bundle that has one); none"
    if not trains_ridge and recipe.rated:
        yield f"rated: `ridge: {recipe.ridge}` stands in place of rated data; give one of the two"
    if trains_ridge and recipe.rated and not objectives:
        yield "scales: every source needs the scale of each of its objectives; there is none"
    if not recipe.pairs and recipe.derived_pairs is None:
        yield "pairs: the gating needs preference pairs (or `derived_pairs:` from ratings); none"
    if recipe.derived_pairs is not None and not recipe.rated:
        yield "derived_pairs: pairs are derived from rated rows; there are none"
    reference = recipe.debias.reference
    if reference != "all" and not getattr(recipe, reference):
        yield f"debias.reference: {reference!r} needs `{reference}:` rows; there are none"
    for name in recipe.debias.measured:
        if trains_ridge and name in objectives:
            yield (
                "debias.measured: a measured nuisance must not have the name of a rated "
                f"objective; the scales rate {name!r}"
            )
    if trains_ridge and objectives:
        weights = recipe.derived_pairs.weights if recipe.derived_pairs is not None else ()
        yield from _unknown_names(objectives, recipe.debias.nuisances, weights)
        if not set(objectives) - set(recipe.debias.nuisances):
            yield "debias.nuisances: at least one objective must not be a nuisance; all are"


def _unknown_names(
    objectives: Sequence[str], nuisances: Iterable[str], weights: Iterable[str]
) -> Iterable[str]:
    """Mistakes in names that must be among the objectives."""
    for key, names in (("debias.nuisances", nuisances), ("derived_pairs.weights", weights)):
        for name in names:
            if name not in objectives:
                hint = nearest(name, objectives)
                if key == "debias.nuisances" and name in MEASURES:
                    hint = "; what is measured from the text belongs under `debias.measured`"
                yield f"{key}: unknown objective {name!r}{hint}"


def _unknown_names_of(content: Mapping[Any, Any]) -> list[str]:
    """The same mistakes in a recipe that has others too, as far as its names can be read."""

    def part(value: Any, kind: type) -> Any:
        return value if isinstance(value, kind) else kind()

    scales = part(content.get("scales"), dict)
    objectives = dict.fromkeys(name for of in scales.values() for name in part(of, dict))
    if not objectives or isinstance(content.get("ridge"), str):
        return []
    nuisances = part(part(content.get("debias"), dict).get("nuisances"), list)
    weights = part(part(content.get("derived_pairs"), dict).get("weights"), dict)
    names = [[name for name in found if isinstance(name, str)] for found in (nuisances, weights)]
    return list(_unknown_names([name for name in objectives if isinstance(name, str)], *names))


def _resolve(recipe: Recipe, folder: Path) -> Recipe:
    """Make relative paths relative to the recipe's folder."""

    def path_of(text: str) -> str:
        if ":" in text.split("/")[0] or Path(text).is_absolute():
            return text
        return str(folder / text)

    def moved(sources: tuple[SourceRecipe, ...]) -> tuple[SourceRecipe, ...]:
        return tuple(s.model_copy(update={"path": path_of(s.path)}) for s in sources)

    keys = ("rated", "pairs", "decontaminate")
    changes: dict[str, Any] = {key: moved(getattr(recipe, key)) for key in keys}
    if isinstance(recipe.ridge, str) and (folder / recipe.ridge).exists():
        changes["ridge"] = str(folder / recipe.ridge)
    if (folder / recipe.backbone.name).is_dir():
        local = recipe.backbone.model_copy(update={"name": str(folder / recipe.backbone.name)})
        changes["backbone"] = local
    return recipe.model_copy(update=changes)

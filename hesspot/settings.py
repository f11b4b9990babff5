"""Files of settings: YAML that is read, checked against a pydantic model, explained, and written as a template."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from hesspot.errors import UserError
from hesspot.files import contents_of, require_file

#: Keys that resemble each other less are not proposed for each other.
RESEMBLANCE = 0.6

#: Columns before the comments of a template.
BEFORE_COMMENT = 36


class Strict(BaseModel):
    """What is written to JSON: unknown keys are refused, and numbers that are not finite are words."""

    model_config = ConfigDict(extra="forbid", ser_json_inf_nan="strings")


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: the first would be ignored."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no word", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path, kind: str, command: str) -> dict[str, Any]:
    """The keys of a YAML file; UserError, in which it is a `kind` that `command --template` writes."""
    path = Path(path)
    remedy = f"`{command} --template` prints one"
    require_file(path, kind, remedy)
    found = contents_of(path)
    if found == "a dataset":
        remedy += f"; name the dataset in it: data: {path}"
    if found not in ("text", "an empty file"):
        raise UserError(f"{path} is {found}, and no {kind} (YAML); {remedy}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{kind} {path} is no valid YAML: {' '.join(str(error).split())}; {remedy}") from error
    if not isinstance(content, dict):
        raise UserError(f"{kind} {path} holds no keys; {remedy}")
    return content


def faults(model: type[BaseModel], content: Mapping[str, Any], other_names: Mapping[str, str]) -> list[str]:
    """All that is wrong with the keys of `content`, a clause each; empty if `model` takes it.

    other_names: keys of other programs, and the dotted key that means the same here.
    """
    try:
        model.model_validate(content)
    except ValidationError as error:
        return list(dict.fromkeys(_explain(problem, model, other_names) for problem in error.errors()))
    return []


def refuse(place: str, found: Sequence[str]) -> None:
    """UserError with all faults of `place` in one sentence; nothing if there are none."""
    if len(found) == 1:
        raise UserError(f"{place}: {found[0]}")
    if found:
        listed = "; ".join(f"({number}) {fault}" for number, fault in enumerate(found, 1))
        raise UserError(f"{place} has {len(found)} faults: {listed}")


def _explain(problem: Any, model: type[BaseModel], other_names: Mapping[str, str]) -> str:
    kind, value = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"])
    where = _keys_only(problem["loc"], model)
    key = ".".join(where)
    if kind == "extra_forbidden":
        return f"key {key} is unknown, {_instead(where, value, model, other_names)}"
    if kind == "missing":
        return f"key {key} is missing; add it"
    if kind == "model_type":
        keys = ", ".join(_section(model, where).model_fields)
        return f"{key} = {value!r} is not valid: it is a section with the keys {keys}"
    return f"{key} = {value!r} is not valid: {problem['msg'].lower()}"


def _keys_only(place: Sequence[str | int], model: type[BaseModel]) -> list[str]:
    """The place of a problem without what pydantic adds where it tries one type after the other."""
    where: list[str] = []
    section: type[BaseModel] | None = model
    for name in map(str, place):
        where.append(name)
        field = section.model_fields.get(name) if section else None
        section = None if field is None else _section_of(field)
        if section is None:
            break
    return where


def _instead(where: list[str], value: Any, model: type[BaseModel], other_names: Mapping[str, str]) -> str:
    """What to write in the place of an unknown key."""
    name, path = where[-1], ".".join(where)
    valid = list(keys_of(model))
    if path in valid:
        return f"since YAML has no dots in keys; write {_nested(path, value)}"
    sections = {known.rpartition(".")[0] for known in valid}
    same = [known for known in valid if known.split(".")[-1] == name]
    if name in other_names:
        same.append(other_names[name])

    def resemblance(known: str) -> float:
        pairs = ((name, known.split(".")[-1]), (path, known))
        return max(difflib.SequenceMatcher(None, one.lower(), two.lower()).ratio() for one, two in pairs)

    def likelihood(known: str) -> float:
        beside, of_its_kind = known.rpartition(".")[0] == path.rpartition(".")[0], known in sections
        return resemblance(known) + 0.1 * beside + 0.1 * (of_its_kind == isinstance(value, Mapping))

    near = same[0] if same else max(valid, key=likelihood)
    if not same and resemblance(near) < RESEMBLANCE:
        return f"and resembles none of the valid ones: {', '.join(_section(model, where[:-1]).model_fields)}"
    written = f"; write {_nested(near, value)}" if near.rpartition(".")[0] != path.rpartition(".")[0] else ""
    return f"the nearest valid one is {near}{written}"


def _nested(path: str, value: Any) -> str:
    *sections, key = path.split(".")
    text = f"{key}: {_yaml(value)}"
    for section in reversed(sections):
        text = f"{section}: {{{text}}}"
    return text


def keys_of(model: type[BaseModel]) -> Iterator[str]:
    """All keys, with dots, those of sections among them; a section stands before its keys."""
    for name, field in model.model_fields.items():
        yield name
        if section := _section_of(field):
            yield from (f"{name}.{key}" for key in keys_of(section))


def _section_of(field: FieldInfo) -> type[BaseModel] | None:
    kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, BaseModel)), None)


def _section(model: type[BaseModel], where: Sequence[str]) -> type[BaseModel]:
    section = model
    for name in where:
        section = _section_of(section.model_fields[name]) or section
    return section


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`changes` put over `base`, section by section."""
    result = dict(base)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def template(model: type[BaseModel], head: str) -> str:
    """A file with all keys, their defaults, and what they mean; keys without a default are commented out.

    Keys that must be given have the first of their `examples`.
    """
    return "\n".join([*(f"# {line}" for line in head.splitlines()), *_lines(model, "")]) + "\n"


def _lines(model: type[BaseModel], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        section = _section_of(field)
        unset = field.default is None
        text = _comment(field) or (section.__doc__ or "").split("\n")[0].strip() if section else _comment(field)
        lead = f"{indent}# " if unset else indent
        if section is not None:
            yield _commented(f"{lead}{name}:", text)
            yield from (lead + line for line in _lines(section, "  "))
            continue
        value = (field.examples or [None])[0] if unset or field.is_required() else field.default
        if isinstance(value, dict):
            yield _commented(f"{lead}{name}:", text)
            block = yaml.safe_dump(value, sort_keys=False, default_flow_style=None, allow_unicode=True)
            yield from (f"{lead}  {line}" for line in block.splitlines())
        else:
            yield _commented(f"{lead}{name}: {_yaml(value)}", text)


def _commented(line: str, comment: str) -> str:
    return f"{line:{BEFORE_COMMENT - 1}} # {comment}" if comment else line


def _comment(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    parts = [field.description or "", f"one of {', '.join(choices)}" if choices else ""]
    return "; ".join(filter(None, parts))


def _choices(annotation: Any) -> list[str]:
    return [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else []


def _yaml(value: Any) -> str:
    """One line of YAML."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")

"""The configuration of a study: a base training configuration, arms that change it, seeds, fractions of the data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from hesspot.errors import UserError
from hesspot.settings import faults, keys_of, merged, read_yaml, refuse, template
from hesspot.training.config import OTHER_NAMES, TrainingConfig, parse_config

Fraction = Annotated[float, Field(gt=0, le=1)]


class StudyKeys(BaseModel):
    """The keys of a study's file; `base` and `arms` hold keys of `hesspot train`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: dict[str, Any] = Field(
        description="what all arms share: keys of `hesspot train`",
        examples=[{"data": "labels.h5", "optimizer": {"epochs": 300}}],
    )
    arms: dict[str, dict[str, Any]] = Field(
        min_length=2,
        description="what each arm changes; also after: ARM, whose model it starts from, and fractions",
        examples=[{"E-F": {"mode": "ef"}, "E-F-H": {"mode": "efh"}, "fine-tuned": {"mode": "efh", "after": "E-F"}}],
    )
    reference: str = Field("E-F", description="the arm that the others are compared with")
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="of the weights, the order, and the draw of systems")
    fractions: list[Fraction] = Field([1.0], min_length=1, description="of the training systems")
    same_steps: bool = Field(True, description="stretch the epochs of smaller fractions to as many steps")
    cost_epochs: int = Field(5, ge=0, description="epochs of each arm that are timed; 0: none")


@dataclass(frozen=True)
class Arm:
    """One way to train.

    slug: name of its folder; training: keys of its training configuration without `data` and `seed`;
    after: the arm whose run with the same seed and fraction it starts from; fractions: those it is trained on.
    """

    name: str
    slug: str
    training: dict[str, Any]
    after: str | None
    fractions: tuple[float, ...]


@dataclass(frozen=True)
class StudyConfig:
    """A checked study. `keys` is what the file says, `arms` what follows from it, in the file's order."""

    keys: StudyKeys
    data: str
    arms: dict[str, Arm]

    @property
    def fractions(self) -> list[float]:
        """Fractions in ascending order."""
        return sorted(set(self.keys.fractions))

    def training(self, arm: Arm, data: str, seed: int, start_from: str | None = None) -> TrainingConfig:
        """The training configuration of one run."""
        content = {**arm.training, "data": data, "seed": seed}
        if start_from is not None:
            content["start_from"] = start_from
        return parse_config(content, f"of the arm {arm.name}")

    def waves(self) -> Iterator[list[Arm]]:
        """Arms in an order in which each comes after the one it starts from; those of one list are independent."""
        done: set[str] = set()
        while len(done) < len(self.arms):
            wave = [arm for arm in self.arms.values() if arm.name not in done and arm.after in (None, *done)]
            yield wave
            done |= {arm.name for arm in wave}


#: Keys of a run that stand beside `base` by mistake.
_IN_BASE = {key.split(".")[-1]: f"base.{key}" for key in keys_of(TrainingConfig)}


def read_study(path: str | Path) -> StudyConfig:
    """Read and check a study's YAML file; UserError with all its faults."""
    return parse_study(read_yaml(Path(path), "study", "hesspot study"), str(path))


def study_template() -> str:
    """A commented study with all keys and defaults."""
    return template(StudyKeys, "A study (`hesspot study`): every key with its default, two arms or more.")


def parse_study(content: dict[str, Any], place: str) -> StudyConfig:
    """Check a study that was read from `place`."""
    refuse(f"study {place}", faults(StudyKeys, content, _IN_BASE))
    keys = StudyKeys.model_validate(content)
    for key in ("seed", "start_from"):
        if key in keys.base:
            remedy = "list `seeds` beside it" if key == "seed" else "give it to the arms that are fine-tuned"
            raise UserError(f"study {place}: base.{key} would be the same for all runs; {remedy}")
    refuse(f"study {place}", _faults_of_arms(keys))
    data = TrainingConfig.model_validate(keys.base).data
    if not isinstance(data, str):
        raise UserError(f"study {place}: base.data lists {len(data)} datasets; a study takes its fractions from one")
    arms = {name: _arm(name, keys, place) for name in keys.arms}
    _check_arms(arms, keys, place)
    return StudyConfig(keys, data, arms)


def _faults_of_arms(keys: StudyKeys) -> list[str]:
    """What is wrong with the training keys of base, or else of the arms."""
    if found := faults(TrainingConfig, keys.base, OTHER_NAMES):
        return [f"base: {fault}" for fault in found]
    for name, changes in keys.arms.items():
        own = {key: value for key, value in merged(keys.base, changes).items() if key not in ("after", "fractions")}
        if changes.get("after") is not None:
            own.setdefault("start_from", str(changes["after"]))
        found += [f"arm {name}: {fault}" for fault in faults(TrainingConfig, own, OTHER_NAMES)]
    return found


def _arm(name: str, keys: StudyKeys, place: str) -> Arm:
    changes = dict(keys.arms[name])
    after, fractions = changes.pop("after", None), changes.pop("fractions", keys.fractions)
    for key in ("data", "seed"):
        if key in changes:
            raise UserError(f"study {place}: {key} of the arm {name} must be that of all arms; leave it to the study")
    if after is not None and "start_from" in changes:
        raise UserError(f"study {place}: the arm {name} has both after and start_from; give one")
    training = merged(keys.base, changes)
    if not isinstance(fractions, list) or not fractions or not set(fractions) <= set(keys.fractions):
        raise UserError(f"study {place}: fractions of the arm {name} must be some of {keys.fractions}, not {fractions}")
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", name).strip("-.")
    del training["data"]
    return Arm(name, slug, training, after, tuple(sorted(set(fractions))))


def _check_arms(arms: dict[str, Arm], keys: StudyKeys, place: str) -> None:
    if keys.reference not in arms:
        raise UserError(
            f"study {place}: the reference {keys.reference} is none of the arms {', '.join(arms)}; name one of them"
        )
    if len(set(keys.seeds)) < len(keys.seeds):
        raise UserError(f"study {place}: seeds {keys.seeds} hold one twice; give different ones")
    slugs: dict[str, str] = {}
    for arm in arms.values():
        if not arm.slug:
            raise UserError(f"study {place}: the arm name {arm.name!r} has no letter or digit; give it one")
        if arm.slug.lower() in slugs:
            raise UserError(
                f"study {place}: the arms {slugs[arm.slug.lower()]} and {arm.name} would share the folder {arm.slug}; "
                "rename one"
            )
        slugs[arm.slug.lower()] = arm.name
        if arm.after is None:
            continue
        if arm.after not in arms or arm.after == arm.name:
            others = ", ".join(name for name in arms if name != arm.name)
            raise UserError(f"study {place}: the arm {arm.name} comes after {arm.after}; that must be one of {others}")
        if not set(arm.fractions) <= set(arms[arm.after].fractions):
            raise UserError(
                f"study {place}: the arm {arm.name} is trained on fractions that {arm.after}, which it starts from, "
                "is not; give both the same"
            )
        before = [arm.name]
        while (after := arms[before[-1]].after) in arms:
            if after in before:
                raise UserError(
                    f"study {place}: the arms {', '.join(before)} start from each other; let one start anew"
                )
            before.append(after)

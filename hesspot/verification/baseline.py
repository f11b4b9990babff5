"""What all engines are compared with: the trained model in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms

from hesspot.accuracy.directions import directions_of, is_large
from hesspot.accuracy.results import EngineResult
from hesspot.export import FingerprintEntry, LoadedModel
from hesspot.export.replay import Answer
from hesspot.extras import is_torch, torch_is_missing
from hesspot.graph import Potential, build_graph


@dataclass(frozen=True)
class Baseline:
    """results: energy, forces, virial and analytic Hessian of structures, of large ones H·v and the Hessian only where
    it is wanted whole; answers: what `replay` asks."""

    name: str
    results: Callable[[Sequence[Atoms], Sequence[bool]], list[EngineResult]]
    answers: Callable[[FingerprintEntry], Answer]


def baseline_of(loaded: LoadedModel) -> Baseline:
    """The trained model as Python code; where there is no torch its kernel, which is to give the fingerprint too."""
    try:
        from hesspot.accuracy.in_torch import one_by_one
        from hesspot.export.answers import answers_of
        from hesspot.export.file import eager_model
    except ModuleNotFoundError as error:
        if not is_torch(error):
            raise
        if loaded.kernel is None:
            raise torch_is_missing(f"model {loaded.path}") from error
        return _of_kernel(loaded, loaded.kernel)
    trained = eager_model(loaded)

    def results(structures: Sequence[Atoms], whole: Sequence[bool]) -> list[EngineResult]:
        return one_by_one(trained, structures, whole=whole)

    return Baseline("trained model", results, answers_of(trained))


def _of_kernel(loaded: LoadedModel, kernel: Potential) -> Baseline:
    def results(structures: Sequence[Atoms], whole: Sequence[bool]) -> list[EngineResult]:
        found = []
        for atoms, wanted in zip(structures, whole, strict=True):
            graph = build_graph(atoms, loaded.elements, loaded.cutoff)
            answer, matrix, products = kernel.answer(graph), None, None
            if is_large(atoms):
                products = np.stack([kernel.products(graph, v) for v in directions_of(atoms)])
            if wanted or products is None:
                matrix = kernel.hessian(graph)
            found.append(EngineResult(answer.energy, answer.forces, answer.virial, matrix, products))
        return found

    def answers(entry: FingerprintEntry) -> Answer:
        graph = build_graph(entry.atoms(), loaded.elements, loaded.cutoff)
        answer = kernel.answer(graph)
        product = kernel.products(graph, np.array(entry.directions).reshape(-1, 3))
        return Answer(answer.energy, answer.forces, answer.virial, product)

    return Baseline("kernel in place of the trained model", results, answers)

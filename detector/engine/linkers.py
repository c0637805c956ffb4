"""Linkers: the search for links between accounts as the configuration wants it, for models with a baseline."""

from collections.abc import Mapping

from detector.engine.links.linker import Linker, Witness
from detector.engine.shard import EngineSettings, ModelBaseline


def linker_for(model: str, known: ModelBaseline, settings: EngineSettings, witness: Witness | None = None) -> Linker:
    """Return a linker of a model; it tells the `witness`, where there is one."""
    return Linker(
        model,
        settings.links,
        known.reference,
        settings.policy,
        scores=known.link_scores,
        reference_set=known.reference_set if settings.odometer else None,
        secret=settings.secret,
        witness=witness,
    )


def linkers_for(
    settings: EngineSettings, baselines: Mapping[str, ModelBaseline], witness: Witness | None = None
) -> dict[str, Linker]:
    """Return a linker for each model with a baseline; none where links are off. All tell the `witness`, where there is one."""
    if not settings.links.enabled:
        return {}
    return {model: linker_for(model, known, settings, witness) for model, known in baselines.items()}

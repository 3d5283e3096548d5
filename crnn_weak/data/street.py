"""Synthetic street scenes with the task's 17 classes: data without a download (`crnn_weak.synthesis`, docs/street.md).

A clip depends on (seed, split, index, sample rate) only; a smaller set holds the first clips of a larger one. The
training split has exact strong labels as well; training uses its tags only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from crnn_weak import timing
from crnn_weak.config import Config, StreetData, fingerprint
from crnn_weak.data.synthesized import SynthesizedSet
from crnn_weak.data.task4 import Task4Dataset
from crnn_weak.errors import ConfigError
from crnn_weak.synthesis.layout import CLIP_SECONDS
from crnn_weak.synthesis.scene import VERSION, draw_scene, render


@dataclass(frozen=True)
class StreetSet:
    """The parameters of a set of street scenes; its content depends on nothing else."""

    seed: int
    n_train: int
    n_test: int
    sample_rate_hz: int
    version: int = VERSION

    def synthesized(self, cache: Path) -> SynthesizedSet:
        """Return the set, its scenes drawn (events and levels, no sound), in its folder under `cache`."""
        plans = {}
        for split, n_clips in (("train", self.n_train), ("test", self.n_test)):
            scenes = [draw_scene(self.seed, split, index) for index in range(n_clips)]
            plans[split] = {scene.clip_id: scene for scene in scenes}
        return SynthesizedSet(
            "street",
            Path(cache) / f"street-{fingerprint(self)}",
            plans,
            render,
            self.sample_rate_hz,
            CLIP_SECONDS,
            asdict(self),
            file_prefix="Y",
            has_audioset_ids=True,
        )


def open_street(config: Config, cache: Path, *, jobs: int = 1, progress: bool = False) -> Task4Dataset:
    """Open the set that the configuration describes; synthesize the clips that are missing first."""
    features, data = config.features, config.data
    assert isinstance(data, StreetData)  # the registry chooses this function by the source
    if features.clip_seconds != CLIP_SECONDS:
        raise ConfigError(
            f"features.clip_seconds = {features.clip_seconds:g}: expected 10, the length of every street clip; "
            "for another length use data.source=folder."
        )
    if features.sample_rate_hz < 8_000 or timing.n_samples(0.5, features.sample_rate_hz) * 2 != features.sample_rate_hz:
        raise ConfigError(
            f"features.sample_rate_hz = {features.sample_rate_hz}: expected an even rate of 8000 or more for street."
        )
    street = StreetSet(data.seed, data.n_train, data.n_test, features.sample_rate_hz)
    folder = street.synthesized(cache).make(jobs=jobs, progress=progress)
    return Task4Dataset(
        folder,
        folder / "audio",
        name="street",
        provenance=(
            f"procedural street scenes, version {street.version}, seed {street.seed}, {street.n_train} training and "
            f"{street.n_test} testing clips at {street.sample_rate_hz / 1000:g} kHz; no recordings"
        ),
        identity=asdict(street),
    )

"""The scalar that is explained and the kind of map, each with a caption in words.

A saliency map without its scalar says nothing: the gradient of a maximum over frames reaches one frame, that of a
mean reaches all. So `Target` names the output, the class, the reduction and the span, `Method` the rest, and the
two captions together go under every figure.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Literal

from crnn_weak import timing
from crnn_weak.errors import ConfigError, DataError, LabelError, nearest_names

__all__ = ["METHODS", "SPACES", "Method", "Space", "Target", "method"]

Space = Literal["standardized", "raw"]
#: What the gradient is taken with respect to, in words.
SPACES: dict[str, str] = {
    "standardized": "the standardized log mel-band energies",
    "raw": "the log mel-band energies before standardization",
}
_OUTPUTS = ("strong", "weak")
_REDUCTIONS = ("mean", "max", "sum")
_SCALES = ("score", "logit")


@dataclass(frozen=True)
class Target:
    """One scalar of one output: the score of one class, reduced over frames where the output has frames.

    Attributes
    ----------
    output : {"strong", "weak"}
        ``strong`` has one score in [0, 1] per frame and class, ``weak`` one per clip and class.
    label : str or int
        The class by name, or by its index in the class list.
    reduction : {"mean", "max", "sum", ""}
        Over the frames of ``strong``; empty means the mean there, and nothing for ``weak``, which has no frames.
        Where several frames share the maximum, its gradient is divided evenly among them.
    span_seconds : tuple of two floats, optional
        Only the frames of ``strong`` whose cells overlap ``[start, end)``, in seconds of the clip; None is all.
    scale : {"score", "logit"}
        The score as it is, or its logit ``log(p / (1 - p))``, taken before the reduction. A sigmoid's slope is
        ``p (1 - p)``: where the network is sure, the gradient of the score vanishes, and a map of scores then shows
        where it is in doubt. The logit undoes the last sigmoid, and only that one.

    Raises
    ------
    ConfigError
        An unknown output, reduction or scale, an empty span, or a reduction or span for ``weak``.
    """

    output: str
    label: str | int
    reduction: str = ""
    span_seconds: tuple[float, float] | None = None
    scale: str = "score"

    def __post_init__(self) -> None:
        if self.output not in _OUTPUTS:
            raise ConfigError(f"saliency output {self.output!r} is not known. {nearest_names(self.output, _OUTPUTS)}")
        if self.scale not in _SCALES:
            raise ConfigError(f"saliency scale {self.scale!r} is not known. {nearest_names(self.scale, _SCALES)}")
        if self.output == "weak" and (self.reduction or self.span_seconds is not None):
            raise ConfigError(
                "the weak output has one score per clip: expected no reduction and no span, "
                f"received {self.reduction or 'none'!r} and {self.span_seconds}. Use the strong output for a span."
            )
        if self.output == "strong":
            object.__setattr__(self, "reduction", self.reduction or "mean")
            if self.reduction not in _REDUCTIONS:
                raise ConfigError(
                    f"saliency reduction {self.reduction!r} is not known. {nearest_names(self.reduction, _REDUCTIONS)}"
                )
        if self.span_seconds is not None:
            start, end = self.span_seconds
            if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
                raise ConfigError(f"saliency span {self.span_seconds}: expected 0 <= start < end, in seconds.")

    def index(self, classes: tuple[str, ...]) -> int:
        """Return the class as its index in the class list.

        Raises
        ------
        LabelError
            The class is not in the list; the message offers the nearest.
        """
        if isinstance(self.label, str):
            if self.label not in classes:
                raise LabelError(
                    f"class {self.label!r} is not one of the model's. {nearest_names(self.label, classes)}"
                )
            return classes.index(self.label)
        if not 0 <= self.label < len(classes):
            raise LabelError(f"class index {self.label}: expected 0 to {len(classes) - 1}, for {len(classes)} classes.")
        return int(self.label)

    def frames(self, n_frames: int, hop_seconds: float) -> tuple[int, int]:
        """Return the frames ``[first, last)`` of the span.

        Raises
        ------
        DataError
            No frame of the clip lies in the span.
        """
        if self.span_seconds is None:
            return 0, n_frames
        first, last = timing.frame_edges(*self.span_seconds, hop_seconds)
        if first >= n_frames:
            length = timing.frames_to_seconds(n_frames, hop_seconds)
            raise DataError(f"saliency span {self.span_seconds} s starts after the end of the clip at {length:g} s.")
        return first, min(last, n_frames)

    def caption(self, classes: tuple[str, ...] | None = None) -> str:
        """Return the scalar in words.

        Examples
        --------
        >>> Target("weak", 1).caption(("Bus", "Car"))
        "output 'weak', class 'Car'"
        >>> Target("strong", "Car", reduction="max").caption()
        "output 'strong', class 'Car', maximum over all frames"
        """
        label = self.label if isinstance(self.label, str) or classes is None else classes[self.index(classes)]
        text = f"{'logit of ' if self.scale == 'logit' else ''}output '{self.output}', class {label!r}"
        if self.output == "weak":
            return text
        over = "all frames"
        if self.span_seconds is not None:
            over = f"the frames of {self.span_seconds[0]:g}-{self.span_seconds[1]:g} s"
        return f"{text}, {'maximum' if self.reduction == 'max' else self.reduction} over {over}"


@dataclass(frozen=True)
class Method:
    """Rule that turns gradients into a map.

    Attributes
    ----------
    kind : {"gradient", "smoothgrad", "integrated_gradients"}
        The gradient at the input; its mean over noisy copies of the input [1]_; its integral along the straight
        line from a baseline to the input, times the difference of the two, which sums to the change of the scalar [2]_.
    relu : {"plain", "guided", "deconvolution"}
        What every ReLU does to the gradient that passes back: as in the forward pass; only where both the forward
        value and the gradient are positive [3]_; where the gradient is positive, whatever the forward value [4]_.
    times_input : bool
        Multiply by the input. Not for integrated gradients, which do so by definition.
    absolute : bool
        Drop the sign.
    n_samples, noise, seed
        SmoothGrad: noisy copies; standard deviation of the noise as a share of the clip's own range; its seed.
    n_steps : int
        Integrated gradients: points of the Gauss-Legendre rule.

    References
    ----------
    .. [1] Smilkov et al., "SmoothGrad: removing noise by adding noise", arXiv:1706.03825.
    .. [2] Sundararajan, Taly, Yan, "Axiomatic attribution for deep networks", ICML 2017.
    .. [3] Springenberg et al., "Striving for simplicity: the all convolutional net", ICLR 2015 workshop.
    .. [4] Zeiler, Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
    """

    kind: str = "gradient"
    relu: str = "plain"
    times_input: bool = False
    absolute: bool = False
    n_samples: int = 16
    noise: float = 0.1
    seed: int = 0
    n_steps: int = 32

    def __post_init__(self) -> None:
        for name, known in (
            ("kind", ("gradient", "smoothgrad", "integrated_gradients")),
            ("relu", ("plain", "guided", "deconvolution")),
        ):
            if getattr(self, name) not in known:
                raise ConfigError(f"saliency {name} {getattr(self, name)!r} is not known. Known: {', '.join(known)}.")
        for name in ("n_samples", "n_steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"saliency {name} = {getattr(self, name)}: expected a whole number of 1 or more.")
        if not self.noise > 0:
            raise ConfigError(f"saliency noise = {self.noise}: expected a share of the input's range above 0.")
        if self.times_input and self.kind == "integrated_gradients":
            raise ConfigError("integrated gradients are multiplied by the input already: leave times_input out.")

    def caption(self, space: str = "standardized") -> str:
        """Return the method in words, the sign included.

        Examples
        --------
        >>> METHODS["talk"].caption()
        'gradient with respect to the standardized log mel-band energies, deconvolution ReLU, absolute value'
        """
        what = {
            "gradient": "gradient",
            "smoothgrad": f"SmoothGrad ({self.n_samples} copies, noise {self.noise:g} of the range, seed {self.seed})",
            "integrated_gradients": f"integrated gradients ({self.n_steps} steps)",
        }[self.kind]
        parts = [f"{what} with respect to {SPACES[space]}"]
        if self.times_input:
            parts.append("times the input")
        if self.relu != "plain":
            parts.append(f"{self.relu} ReLU")
        parts.append("absolute value" if self.absolute else "signed")
        return ", ".join(parts)


#: The maps by name. ``talk`` is what the authors tried: the deconvolution modifier, absolute gradient.
METHODS: dict[str, Method] = {
    "gradient": Method(),
    "absolute": Method(absolute=True),
    "gradient_x_input": Method(times_input=True),
    "guided": Method(relu="guided"),
    "deconvolution": Method(relu="deconvolution"),
    "talk": Method(relu="deconvolution", absolute=True),
    "smoothgrad": Method(kind="smoothgrad"),
    "integrated_gradients": Method(kind="integrated_gradients"),
}


def method(name: str | Method, **changes: object) -> Method:
    """Return a method by name, with some of its attributes changed.

    Raises
    ------
    ConfigError
        The name is not known, or an attribute is out of its range.

    Examples
    --------
    >>> method("smoothgrad", n_samples=4).n_samples
    4
    """
    if isinstance(name, str):
        if name not in METHODS:
            raise ConfigError(f"saliency method {name!r} is not known. {nearest_names(name, METHODS)}")
        name = METHODS[name]
    return dataclasses.replace(name, **changes)  # type: ignore[arg-type]

"""Saliency: gradients of one scalar of the network with respect to its log mel input."""

from crnn_weak.saliency.maps import METHODS, Explainer, Method, Target

__all__ = ["METHODS", "Explainer", "Method", "Target"]

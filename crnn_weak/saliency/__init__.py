"""Saliency: gradients of one scalar of the network with respect to its log mel input."""

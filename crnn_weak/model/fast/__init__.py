"""Keras layers with the weights, the values and the names of their parents, computed faster.

Values and gradients equal the parent's to rounding. Each class falls back to its parent wherever the shortcut does not
hold: another backend, a GPU (where cuDNN is the better way), a mask, other activations.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from crnn_weak.environment import has_gpu

_register = keras.saving.register_keras_serializable(package="crnn_weak")
#: The description of a deferred convolution is an attribute of its output, as Keras attaches a mask.
_CONVOLUTION = "_crnn_weak_convolution"


def _tensorflow_on_cpu() -> bool:
    return keras.backend.backend() == "tensorflow" and not has_gpu()


@_register
class TimeDistributed(keras.layers.TimeDistributed):
    """`keras.layers.TimeDistributed` that applies a Dense layer to all frames at once."""

    # The parent has one slice per frame: half the speed, several times the memory (keras-team/keras#21179).
    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        if isinstance(self.layer, keras.layers.Dense) and mask is None:
            return self.layer.call(inputs)
        return super().call(inputs, training=training, mask=mask)


@_register
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`; for one channel, `BatchNormalization` and `MaxPooling2D` compute all three together."""

    def call(self, inputs: Any) -> Any:
        outputs = super().call(inputs)
        if self._fits(inputs):
            from crnn_weak.model.fast.conv import OneChannelConvolution

            kernel, bias = ops.convert_to_tensor(self.kernel), ops.convert_to_tensor(self.bias)
            setattr(outputs, _CONVOLUTION, OneChannelConvolution(inputs, kernel, bias))
        return outputs

    def _fits(self, inputs: Any) -> bool:
        if not _tensorflow_on_cpu():
            return False
        import tensorflow as tf

        # Outside a graph the convolution would be computed although nothing uses its values.
        return (
            not tf.executing_eagerly()
            and inputs.dtype == self.compute_dtype == "float32"
            and self.data_format == "channels_last"
            and inputs.shape[2] is not None
            and (inputs.shape[3], self.groups, self.padding) == (1, 1, "same")
            and (*self.strides, *self.dilation_rate) == (1, 1, 1, 1)
            and self.use_bias
            and self.activation is keras.activations.linear
        )


@_register
class MaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D`; over bands alone it also computes the deferred convolution that it follows."""

    def call(self, inputs: Any) -> Any:
        convolution: Any = getattr(inputs, _CONVOLUTION, None)
        fits = (
            convolution is not None
            and self.pool_size[0] == 1
            and tuple(self.strides) == tuple(self.pool_size)
            and inputs.shape[2] % self.pool_size[1] == 0
            and self.data_format == "channels_last"
        )
        return convolution.largest(self.pool_size[1]) if fits else super().call(inputs)


@_register
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` through TensorFlow's fused kernel where that exists (4-D, last axis, CPU)."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        fits = len(inputs.shape) == 4 and self.axis in (-1, 3) and self.scale and self.center and not self.renorm
        if mask is not None or not fits or inputs.dtype != "float32" or not _tensorflow_on_cpu():
            return super().call(inputs, training=training, mask=mask)
        training = bool(training and self.trainable)
        convolution = getattr(inputs, _CONVOLUTION, None)
        if convolution is not None:
            return self._through(convolution, inputs, training)
        import tensorflow as tf

        mean = variance = tf.zeros((0,), tf.float32)
        if not training:
            mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=tf.convert_to_tensor(self.gamma), offset=tf.convert_to_tensor(self.beta), mean=mean,
            variance=variance, epsilon=self.epsilon, is_training=training,
        )  # fmt: skip
        if training:
            # The kernel reports the unbiased variance; Keras moves toward the biased one.
            n_values = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
            self._move(mean, variance * (n_values - 1.0) / n_values)
        return outputs

    def _through(self, convolution: Any, inputs: Any, training: bool) -> Any:
        """Normalize a deferred convolution: scale and shift go into its kernel and bias."""
        if training:
            mean, variance = convolution.moments()
            self._move(mean, variance)
        else:
            mean, variance = ops.convert_to_tensor(self.moving_mean), ops.convert_to_tensor(self.moving_variance)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        shift = self.beta - mean * scale
        outputs = inputs * scale + shift  # used by layers other than pooling; pruned otherwise
        setattr(outputs, _CONVOLUTION, convolution.scaled(scale, shift))
        return outputs

    def _move(self, mean: Any, variance: Any) -> None:
        rest = 1.0 - self.momentum
        self.moving_mean.assign(self.moving_mean * self.momentum + ops.stop_gradient(mean) * rest)
        self.moving_variance.assign(self.moving_variance * self.momentum + ops.stop_gradient(variance) * rest)


@_register
class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` of two GRUs, both directions computed as one recurrence (TensorFlow on a CPU)."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool | None = None) -> Any:
        if mask is not None or initial_state is not None or not self._fits() or not _tensorflow_on_cpu():
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        from crnn_weak.model.fast.gru import bidirectional_gru

        ahead, back = bidirectional_gru(sequences, (self.forward_layer.cell, self.backward_layer.cell))
        return ops.concatenate([ahead, back], axis=-1) if self.merge_mode == "concat" else ahead * back

    def _fits(self) -> bool:
        layers = (self.forward_layer, self.backward_layer)
        return (
            all(isinstance(layer, keras.layers.GRU) for layer in layers)
            and all(layer.reset_after and layer.use_bias and not layer.dropout for layer in layers)
            and all(not layer.recurrent_dropout and not layer.stateful and not layer.unroll for layer in layers)
            and all(layer.activation is keras.activations.tanh for layer in layers)
            and all(layer.recurrent_activation is keras.activations.sigmoid for layer in layers)
            and not self.forward_layer.go_backwards
            and self.return_sequences
            and not self.return_state
            and self.merge_mode in ("concat", "mul")
            and self.compute_dtype == "float32"
        )

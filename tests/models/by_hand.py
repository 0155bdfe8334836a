"""Parts of Transformers in numpy and float64, by loops where that is clearest."""

import jax.numpy as jnp
import numpy as np
from flax import nnx
from scipy.special import erf


def shuffled(m, seed=1):
    """The module with every parameter drawn anew: biases and scales, too, are to matter."""
    rng = np.random.default_rng(seed)
    for _, variable in nnx.iter_graph(m):
        if isinstance(variable, nnx.Param):
            shape = variable[...].shape
            variable[...] = jnp.asarray(rng.normal(0, 0.3, shape), jnp.float32)
    return m


def attention(q, k, v, causal=True, lengths=None):
    """By loops: over tokens up to each, or over the first `lengths` of each text."""
    B, T, N, H = q.shape
    out = np.zeros(q.shape)
    for b, t, n in np.ndindex(B, T, N):
        group = n // (N // k.shape[2])
        stop = t + 1 if causal else k.shape[1] if lengths is None else lengths[b]
        score = k[b, :stop, group] @ q[b, t, n] / np.sqrt(H)
        weight = np.exp(score - score.max())
        out[b, t, n] = weight / weight.sum() @ v[b, :stop, group]
    return out


def attended(x, y, layer, **seen):
    """What `x` takes from `y`, through an `Attention`'s own matrices."""
    B, size = len(x), layer._size
    q = linear(x, layer.q).reshape(B, x.shape[1], -1, size)
    k, v = (linear(y, m).reshape(B, y.shape[1], -1, size) for m in (layer.k, layer.v))
    return linear(attention(q, k, v, **seen).reshape(B, x.shape[1], -1), layer.o)


def normed(x, norm, epsilon=1e-5):
    x = x.astype(np.float64)
    if isinstance(norm, nnx.RMSNorm):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * norm.scale[...]
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
    return x * norm.scale[...] + (0 if norm.bias is None else norm.bias[...])


def linear(x, layer):
    return x @ np.asarray(layer.kernel[...]) + (0 if layer.bias is None else layer.bias[...])


def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def gelu(x):
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def rows(table):
    return np.asarray(table.embedding[...], np.float64)

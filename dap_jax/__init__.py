"""dap_jax: dual-alignment pre-training of cross-lingual sentence encoders, in JAX."""

__version__ = "0.1.0"

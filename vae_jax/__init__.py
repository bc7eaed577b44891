"""Autoencoders and variational autoencoders in JAX. Importing this package imports nothing else: it is quick."""

__version__ = "0.1.0"

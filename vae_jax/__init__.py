"""Autoencoders and variational autoencoders in JAX. Importing this package imports nothing else: start-up stays short."""

__version__ = "0.1.0"

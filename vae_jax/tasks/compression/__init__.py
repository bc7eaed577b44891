"""Compression by a trained model: lossless (bits-back coding) and lossy (quantised codes), with other codecs beside."""

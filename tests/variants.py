"""Every variant of every config of the repository: a new one is tested without being named anywhere."""

import ast
import pathlib

from vae_jax import config

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"


def all_variants() -> list[str]:
    """Return config specs such as 'digits.py:variant=cvae', read from the keys of each file's _VARIANTS."""
    found = []
    for path in sorted(CONFIGS.glob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and node.targets[0].id == "_VARIANTS":
                found += [f"{path.name}:variant={key.value}" for key in node.value.keys]
    return found


def load(variant: str, **overrides):
    """Return the resolved config of a variant; overrides are written a__b=value for a.b."""
    return config.load(f"{CONFIGS}/{variant}", {name.replace("__", "."): value for name, value in overrides.items()})


_NARROW = {"categories": 3, "components": 3, "depth": 2, "width": 5}  # of posteriors and priors


def load_small(variant: str):
    """Return a variant with its layers narrowed, so that it compiles and runs quickly."""
    full = load(variant)
    small = {"hidden": 16, "channels": 4, "width": 4, "depth": 1}
    narrow = {}
    for part in "encoder", "discriminator":
        given = full.model.get(part) or {}
        for field in small.keys() & given.keys():
            value, whole = small[field], given[field]
            narrow[f"model__{part}__{field}"] = (value,) * len(whole) if isinstance(whole, tuple) else value
    if full.model.get("above"):
        narrow |= {"model__above": (1,) * len(full.model.above), "model__width": 8}
    if full.model.get("positions"):  # entries of two numbers
        levels = {"model__quantizer__levels": (3, 2)} if "levels" in full.model.quantizer else {}
        narrow |= {"model__positions": 3, "model__latent": 6, **levels}
    for part in "posterior", "prior":
        fields = full.model.get(part) or {}
        narrow |= {f"model__{part}__{field}": value for field, value in _NARROW.items() if field in fields}
    if "model__posterior__categories" in narrow:
        narrow |= {"model__latent": 6}
    if "components" in full.model:
        narrow |= {"model__components": 3}
    if "pretrain_epochs" in full.hypers:  # what comes after it
        narrow |= {"hypers__pretrain_epochs": 0.0}
    return load(variant, **{"model__latent": 3, **narrow})


def distinct_small() -> list[str]:
    """Return all variants but those that, narrowed, are the same model with the same loss as one before them."""
    first = {}
    for variant in all_variants():
        full = load_small(variant).to_dict()
        rates = {"learning_rate", "weight_decay"}  # of the optimizer
        first.setdefault(repr((full["model"], {k: v for k, v in full["hypers"].items() if k not in rates})), variant)
    return list(first.values())

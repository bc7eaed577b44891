"""The published tables that can be made again: each row a figure, where it stands, and the config that is ours."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from vae_jax import config
from vae_jax.build import nearest
from vae_jax.errors import ConfigError, DataError


class Row(NamedTuple):
    """One published figure."""

    name: str
    text: str  # what is measured
    published: float
    config: str  # ours, below the root of the repository
    figure: str  # of ours: a dotted path in the results of the table's task; {chosen} is one of them


class Table(NamedTuple):
    """A published table, or the part of it that we can measure."""

    name: str
    title: str
    source: str
    unit: str
    higher_is_better: bool
    goal: float  # how much worse than published a row may be, in the unit
    task: str  # that gives the figures: a function of `vae_jax.reproduction.make`
    scale: float  # from a figure of ours to the unit
    digits: int  # of ours behind the point
    published_digits: int
    published_budget: str
    rows: tuple[Row, ...]


def find(name: str) -> Table:
    """Return a table.

    Raises:
        ConfigError: it is unknown.
    """
    if name not in TABLES:
        raise ConfigError(f"--table={name!r} is unknown{nearest(name, TABLES)}; known: {', '.join(TABLES)}")
    return TABLES[name]


def choose(table: Table, name: str | None) -> tuple[Row, ...]:
    """Return the row of that name alone, or all rows.

    Raises:
        ConfigError: it is unknown.
    """
    rows = {row.name: row for row in table.rows}
    if name is not None and name not in rows:
        raise ConfigError(f"--row={name!r} is unknown{nearest(name, rows)}; known: {', '.join(rows)}")
    return table.rows if name is None else (rows[name],)


def load(row: Row, root: pathlib.Path, seed: int) -> Mapping[str, Any]:
    """Return the resolved config of a row with a seed of its own.

    The seed is that of parameters, noise and order; the data, the drawing of test pixels too, are those of all seeds.
    """
    return config.load(f"{root}/{row.config}", {"seed": seed})


def read_record(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the lines of the file of a table that was made; none where there is no file yet.

    Raises:
        DataError: a line is damaged.
    """
    found = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], 1):
        try:
            found.append({"row": None, **json.loads(line)})
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}, line {number} is damaged: expected a row as JSON; restore the file") from error
    return found


def folder_name(row: Row, seed: int) -> str:
    """Return how the folder of a run is called; rows of one config share it."""
    return f"{row.config.rpartition('=')[2]}-seed{seed}"


def _iwae(rows: Iterable[tuple[str, str, float]]) -> tuple[Row, ...]:
    return tuple(
        Row(name, text, published, f"configs/iwae.py:variant={name.replace('iwae_1', 'vae_1')}", "test.nll_nats")
        for name, text, published in rows
    )


def _vamp(rows: Iterable[tuple[str, str, float]]) -> tuple[Row, ...]:
    spec = "configs/vampprior.py:variant="
    return tuple(Row(name, text, published, spec + name, "test.nll_nats") for name, text, published in rows)


def _bits(name: str, text: str, published: float, variant: str, figure: str) -> Row:
    return Row(name, text, published, f"configs/mnist.py:variant={variant}", f"lossless.{figure}")


def _classes(means: Iterable[float]) -> tuple[Row, ...]:
    mean, *digits = means
    spec = "configs/one_class.py:variant=mnist"
    rows = [Row("mean", "mean of the ten digits", mean, spec, "scores.{chosen}.mean.auroc")]
    rows += [
        Row(f"digit_{d}", f"digit {d} is normal", value, spec, f"scores.{{chosen}}.classes.{d}.auroc")
        for d, value in enumerate(digits)
    ]
    return tuple(rows)


_ALL = (
    Table(
        name="iwae",
        title="Importance weighted autoencoders: one stochastic layer, MNIST binarized dynamically",
        source="Burda, Grosse, Salakhutdinov (2016), table 1; -log p(x) estimated with k=5000",
        unit="nats",
        higher_is_better=False,
        goal=0.5,
        task="train",
        scale=1.0,
        digits=2,
        published_digits=2,
        published_budget="3280 epochs of batches of 20, on all 60000 training pictures",
        rows=_iwae(
            (
                ("vae_1", "VAE, k=1", 86.76),
                ("vae_5", "VAE, k=5", 86.47),
                ("vae_50", "VAE, k=50", 86.35),
                ("iwae_1", "IWAE, k=1, which is VAE, k=1", 86.76),
                ("iwae_5", "IWAE, k=5", 85.54),
                ("iwae_50", "IWAE, k=50", 84.78),
            )
        ),
    ),
    Table(
        name="vamp",
        title="VAE with a VampPrior: one stochastic layer, MNIST",
        source="Tomczak, Welling (2018), tables 1 and 2; -log p(x) estimated with k=5000",
        unit="nats",
        higher_is_better=False,
        goal=0.5,
        task="train",
        scale=1.0,
        digits=2,
        published_digits=2,
        published_budget="up to 2000 epochs of batches of 100, ended by early stopping; two learning rates tried",
        rows=_vamp(
            (
                ("static_standard", "static binarization, standard normal prior", 88.56),
                ("static_vamp", "static binarization, VampPrior", 85.57),
                ("dynamic_standard", "dynamic binarization, standard normal prior", 84.50),
                ("dynamic_vamp", "dynamic binarization, VampPrior", 82.38),
            )
        ),
    ),
    Table(
        name="bbans",
        title="Lossless compression with bits back: MNIST's test pictures",
        source="Townsend, Bird, Barber (2019)",
        unit="bits/dim",
        higher_is_better=False,
        goal=0.0,
        task="compress",
        scale=1.0,
        digits=4,
        published_digits=2,
        published_budget="20 epochs of batches of 100, one hidden layer",
        rows=(
            _bits("binary", "binarized, the coded file", 0.19, "lossless_binary", "bits_per_dim"),
            _bits("binary_bound", "binarized, -ELBO", 0.19, "lossless_binary", "neg_elbo_bits_per_dim"),
            _bits("full", "8 bits, the coded file", 1.41, "lossless", "bits_per_dim"),
            _bits("full_bound", "8 bits, -ELBO", 1.39, "lossless", "neg_elbo_bits_per_dim"),
        ),
    ),
    Table(
        name="oneclass",
        title="One-class anomaly detection: a digit of MNIST is normal, the others are anomalies",
        source="Ruff et al. (2018), table 1, one-class Deep SVDD; ours is a VAE and the score that it chose",
        unit="AUROC, %",
        higher_is_better=True,
        goal=0.0,
        task="one_class",
        scale=100.0,
        digits=2,
        published_digits=1,
        published_budget="two stages of 150 epochs a digit, ten seeds",
        rows=_classes((94.8, 98.0, 99.7, 91.7, 91.9, 94.9, 88.5, 98.3, 94.6, 93.9, 96.5)),
    ),
)

TABLES = {table.name: table for table in _ALL}

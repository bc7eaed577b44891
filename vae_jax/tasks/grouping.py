"""Groups in the latent space, what simple classifiers read off it, and a map of it."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from vae_jax.data.order import evenly_spaced
from vae_jax.errors import ConfigError
from vae_jax.evaluation.clustering import Groups, agreement, contingency, gaussian_mixture, kmeans, matching
from vae_jax.evaluation.probes import knn, linear, probe
from vae_jax.reporting.figures import save_captioned, save_latent_map
from vae_jax.storage import subfolder
from vae_jax.tasks.representations import Split, reader, represent
from vae_jax.tasks.saved import Saved
from vae_jax.trained import Trained

_PARTS = {"train": ("train",), "test": ("test",), "all": ("train", "validation", "test")}
_PER_CLASS = (10, 100, 1000)  # labels of each class that the probes are given, and then all
_MAPPED = 3000  # pictures in the map
_SHOWN = 10  # pictures of each group
_PERPLEXITY = 30


class Pictures(NamedTuple):
    """Pictures that are to be grouped, those of one or more splits after each other."""

    vectors: dict[str, np.ndarray]  # latent, pixels, pca: [N,D]
    labels: np.ndarray | None  # [N]
    read: Callable[[np.ndarray], np.ndarray]  # index [B] -> [B,H,W,C]


def check_clusters(clusters: int | None, num_classes: int, num_pictures: int) -> int:
    """Return the number of groups: that of the classes, if none is given.

    Raises:
        ConfigError: none is given and there are no classes, or there are not so many pictures.
    """
    if clusters is None and num_classes < 2:
        raise ConfigError("the data have no labels that say how many groups there are; give --clusters=K")
    number = clusters or num_classes
    if number > num_pictures:
        raise ConfigError(f"{number} groups are more than the {num_pictures} pictures of the split; give --clusters")
    return number


def group(saved: Saved, split: str, clusters: int | None, say: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of groups and probes, and write a map and a picture of the groups.

    Groups are found without labels in the pictures of `split` (train, test or all), in the latent space by k-means and
    a Gaussian mixture, and by k-means in pixels and in as many principal components. A prior whose components are
    clusters has groups of its own, one for each. Labels judge them. Probes are
    given labels of the training split and are judged on the test split. The components are of the training pictures.

    Raises:
        ConfigError: the model is conditional, or the number of groups is not known or too large.
    """
    parts = _PARTS[split]
    sizes = saved.dataset.sizes
    clusters = check_clusters(clusters, saved.dataset.num_classes, sum(sizes[name] for name in parts))
    splits = represent(saved, tuple(dict.fromkeys((*parts, "train", "test"))))
    pictures = together(saved, splits, parts)
    found = {}
    for name, method in _methods():
        say(f"grouping {len(pictures.vectors[name])} pictures: {method.__name__} of {name}")
        found[f"{name}_{method.__name__}"] = method(pictures.vectors[name], clusters)
    if saved.trained.model.clusters:
        found["latent_prior"] = of_prior(saved.trained, pictures.vectors["latent"])
    results = {
        "split": split,
        "num_examples": len(pictures.vectors["latent"]),
        "num_clusters": clusters,
        "clustering": {name: _judged(groups, pictures.labels) for name, groups in found.items()},
    }
    folder = saved.folder / "pictures"
    subfolder(folder)
    shown = found.get("latent_prior", found["latent_kmeans"])
    results["groups"] = _save_groups(folder / f"groups_{split}.png", shown, pictures)
    say("drawing the map")
    _save_map(folder / f"groups_map_{split}.png", pictures)
    if pictures.labels is None:
        say(f"data {saved.dataset.name!r} have no labels: no accuracy, NMI, ARI, and no probes")
    else:
        results["probes"] = _probes(splits, say)
    return results


def _methods() -> list[tuple[str, Callable[[np.ndarray, int], Groups]]]:
    return [("latent", kmeans), ("latent", gaussian_mixture), ("pixels", kmeans), ("pca", kmeans)]


def of_prior(trained: Trained, codes: np.ndarray) -> Groups:
    """Return the groups argmax_c p(c|z) of codes z [N,D] under the prior; their centres are the means of the codes."""
    log_joint = np.asarray(jax.jit(trained.model.clusters)(trained.params, trained.stats, codes), np.float64)
    assigned = log_joint.argmax(axis=1)
    members = np.eye(log_joint.shape[1])[assigned]
    centres = members.T @ codes / np.maximum(members.sum(axis=0), 1)[:, None]
    return Groups(assigned, centres, float(-np.logaddexp.reduce(log_joint, axis=1).mean()))


def together(saved: Saved, splits: dict[str, Split], parts: tuple[str, ...]) -> Pictures:
    """Return the pictures of some splits one after another."""
    vectors = {name: np.concatenate([splits[part].vectors[name] for part in parts]) for name in splits["test"].vectors}
    labels = [splits[part].labels for part in parts]
    where = [(part, i) for part in parts for i in splits[part].chosen]

    def read(index: np.ndarray) -> np.ndarray:
        return np.concatenate([reader(saved, where[i][0])(np.array([where[i][1]])) for i in index])

    return Pictures(vectors, None if labels[0] is None else np.concatenate(labels), read)


def _judged(groups: Groups, labels: np.ndarray | None) -> dict[str, float]:
    figures = {} if labels is None else agreement(labels, groups.assigned)
    return figures | {"objective": groups.objective}


def _save_groups(path: pathlib.Path, groups: Groups, pictures: Pictures) -> list[dict[str, Any]]:
    """Write the pictures nearest to each centre, a row per group, the largest first; return what each group is.

    A group that is empty is listed and has no row.
    """
    sizes = np.bincount(groups.assigned, minlength=len(groups.centres))
    counts = None if pictures.labels is None else contingency(pictures.labels, groups.assigned)
    matched = {} if counts is None else matching(counts)
    rows, captions, about = [], [], []
    for i in np.argsort(-sizes, kind="stable"):
        about.append({"group": int(i), "size": int(sizes[i])})
        if not sizes[i]:
            continue
        members = np.flatnonzero(groups.assigned == i)
        away = np.square(pictures.vectors["latent"][members] - groups.centres[i]).sum(axis=1)
        nearest = members[np.argsort(away, kind="stable")[:_SHOWN]]
        rows.append(_filled(pictures.read(nearest)))
        names = [f"label {pictures.labels[j]}" if pictures.labels is not None else f"group {i}" for j in nearest]
        captions += names + [""] * (_SHOWN - len(names))
        if i in matched:
            about[-1] |= {"label": matched[i], "share_of_label": float(counts[i, matched[i]] / sizes[i])}
    save_captioned(path, np.concatenate(rows), captions, _SHOWN)
    return about


def _filled(row: np.ndarray) -> np.ndarray:
    """Fill a row of pictures up with white ones."""
    return np.concatenate([row, np.ones((_SHOWN - len(row), *row.shape[1:]), row.dtype)])


def _save_map(path: pathlib.Path, pictures: Pictures) -> None:
    """Plot codes in two dimensions: as they are where they have two, else by t-SNE (van der Maaten and Hinton 2008)."""
    chosen = evenly_spaced(len(pictures.vectors["latent"]), _MAPPED)
    codes, names = pictures.vectors["latent"][chosen], ("z[0]", "z[1]")
    if codes.shape[1] != 2:
        from sklearn.manifold import TSNE

        start = "pca" if codes.shape[1] > 2 else "random"
        perplexity = min(_PERPLEXITY, (len(codes) - 1) / 3)
        codes = TSNE(init=start, perplexity=perplexity, random_state=0).fit_transform(codes)
        names = ("t-SNE 1", "t-SNE 2")
    save_latent_map(path, codes, None if pictures.labels is None else pictures.labels[chosen], names)


def _probes(splits: dict[str, Split], say: Callable[[str], None]) -> dict[str, Any]:
    """Return {representation: {probe: {labels per class: figures}}}."""
    train, test = splits["train"], splits["test"]
    fewest = np.bincount(train.labels)[np.unique(train.labels)].min()
    counts = {str(n): n for n in _PER_CLASS if n < fewest} | {"all": None}
    results: dict[str, Any] = {}
    for name, vectors in train.vectors.items():
        say(f"probes of {name}")
        known, asked = (vectors, train.labels), (test.vectors[name], test.labels)
        results[name] = {
            classify.__name__: {per_class: probe(classify, known, asked, n) for per_class, n in counts.items()}
            for classify in (knn, linear)
        }
    return results


def summary(results: dict[str, Any]) -> str:
    """Return the figures of `group` as aligned lines."""
    lines = [f"{results['num_clusters']} groups of {results['num_examples']} pictures ({results['split']})"]
    for name, figures in results["clustering"].items():
        judged = [f"{key} {100 * figures[key]:6.2f} %" for key in ("accuracy", "nmi", "ari") if key in figures]
        lines.append(f"  {name:<24}  {'  '.join(judged) or 'objective ' + format(figures['objective'], '.5g')}")
    if "probes" in results:
        lines.append("test accuracy in % by labels of each class, ± standard error")
        counts = list(results["probes"]["latent"]["knn"])
        lines.append(f"  {'':<24}" + "".join(f"{count:>15}" for count in counts))
        for name, probes in results["probes"].items():
            for kind, by_count in probes.items():
                found = [(f["accuracy"], f["accuracy_standard_error"]) for f in by_count.values()]
                cells = [f"{100 * mean:>8.2f} ± {100 * error:.2f}" for mean, error in found]
                lines.append(f"  {name + ' ' + kind:<24}{''.join(cells)}")
    return "\n".join(lines)

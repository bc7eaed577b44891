"""Which of code, software and machine differ between two runs, and whether equal bits may still be asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from vae_jax.config_rules import flatten

_GROUPS = ("code", "python", "os", "host", "packages", "jax", "environment", "precision")
_COMPUTE = {
    "flax",
    "jax",
    "jaxlib",
    "ml-dtypes",
    "numpy",
    "optax",
    "scikit-learn",
    "scipy",
}  # and what JAX needs of GPUs
_SETTINGS = ("JAX_", "XLA_", "NCCL_")
_NO_PART = ("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE", "JAX_PLATFORMS")  # the last is told as jax.backend
_OPEN = ("packages.", "environment.")  # groups in which a name that is missing says something


class Difference(NamedTuple):
    """What is not the same in two manifests."""

    what: str  # such as jax.cpu_cores
    then: Any
    now: Any
    decides: bool  # whether equal bits are no longer promised

    def __str__(self) -> str:
        return f"{self.what}: {self.then} -> {self.now}{'' if self.decides else ' (no part in the bits)'}"


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[Difference]:
    """Return in what two runs differ by their manifests, each difference once, those that decide first.

    A run that was restarted under other conditions differs by those too. What one of the manifests does not know of,
    because an older version wrote it, is passed over.
    """
    found = [one for part in (*_parts(then)[1:], *_parts(now)) for one in _between(_parts(then)[0], part)]
    return sorted(dict.fromkeys(found), key=lambda one: not one.decides)


def members(manifest: Mapping[str, Any]) -> int:
    """Return how many models were trained in one program with this one, itself included."""
    return int(manifest.get("members") or 1)


def at_the_end(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the manifest as it was at the last restart, as if all of the run had been done so."""
    return {**_parts(manifest)[-1], "restarts": ()}


def computes(package: str) -> bool:
    """Tell whether the version of a package may show in the last bits of a run."""
    name = package.lower().replace("_", "-")
    return name in _COMPUTE or name.startswith(("jax-", "nvidia-"))


def _parts(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the manifest as it was at the start of a run and at each restart."""
    return [manifest, *({**manifest, **restart["changed"]} for restart in manifest.get("restarts", ()))]


def _between(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Difference]:
    a, b = ({k: v for k, v in flatten({g: m[g] for g in _GROUPS if g in m}) if _told(k)} for m in (then, now))
    source_known = all("code.source_sha256" in known for known in (a, b))
    for name in sorted(a.keys() | b.keys()):
        known = (name in a and name in b) or name.startswith(_OPEN)
        if known and a.get(name) != b.get(name):
            yield Difference(name, a.get(name), b.get(name), _decides(name, source_known))


def _told(name: str) -> bool:
    return not name.startswith("environment.") or name.removeprefix("environment.").startswith(_SETTINGS)


def _decides(name: str, source_known: bool) -> bool:
    group, _, rest = name.partition(".")
    if group == "code":  # a commit may have changed no more than a text
        return rest == "source_sha256" or not source_known
    if group == "packages":
        return computes(rest)
    if group == "environment":
        return not rest.startswith(_NO_PART)
    return group not in ("os", "host")

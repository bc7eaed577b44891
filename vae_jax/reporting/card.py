"""The model card of a run on the Hugging Face Hub."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from vae_jax.reporting.table import figure_lines

_SHOWN = ("samples.png", "reconstructions.png")


def model_card(
    repo: str,
    config: Mapping[str, Any],
    manifest: Mapping[str, Any],
    results: Mapping[str, Any],
    pictures: Sequence[str],
    licence: str | None,
) -> str:
    """Return README.md: what the model is, its figures, and the commands that load it and train it again.

    Args:
        repo: user/name.
        config: resolved.
        manifest: as it is published.
        results: what results.json holds.
        pictures: file names in pictures/.
        licence: of the parameters; None if it is not stated.
    """
    name, shape = config["model"]["name"], "x".join(map(str, manifest["data"]["shape"]))
    front = ["library_name: vae_jax", f"tags: {json.dumps(['jax', 'autoencoder', name])}"]  # JSON is YAML
    front += [f"license: {json.dumps(licence)}"] if licence else []
    shown = [picture for picture in _SHOWN if picture in pictures]
    stated = f"The parameters: {licence}." if licence else "The owner of the parameters has not stated one."
    return "\n".join(
        [
            *("---", *front, "---", "", f"# {repo.partition('/')[2]}", ""),
            f"Model `{name}` of vae_jax with {results.get('num_parameters', 0):,} parameters and a code of "
            f"{config['model'].get('latent')} numbers, for pictures of {shape}.",
            *("", *(f"![{picture.removesuffix('.png')}](pictures/{picture})\n" for picture in shown)),
            *("## Figures of the test split", "", "```"),
            *(line.strip() for line in figure_lines(results["test"])),
            *("```", "", "Units are in the names; ± is the standard error over the examples, of one seed.", ""),
            *_commands(repo, manifest),
            *_origin(manifest),
            *("", "## Licence", "", f"{stated} The code: Apache-2.0.", ""),
        ]
    )


def _commands(repo: str, manifest: Mapping[str, Any]) -> list[str]:
    again = shlex.join(manifest["command"]) or "# not started by scripts/train.py: see config.json"
    return [
        *("## Use", "", "```sh", "pip install -e '.[hub]'   # in a clone of the code"),
        f"python scripts/hub.py pull {repo} --workdir=RUN",
        *("python scripts/sample.py --workdir=RUN", "python scripts/evaluate.py --workdir=RUN", "```", ""),
        *("```python", "from vae_jax import hub, trained", "", f'hub.pull_run("{repo}", "RUN")'),
        *('model = trained.load("RUN")  # has encode, decode, reconstruct and sample', "```", ""),
        *("## Train it again", "", "```sh", again, "python scripts/reproduce.py RUN   # and compare", "```", ""),
    ]


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    data, code, jax = manifest["data"], manifest["code"], manifest["jax"]
    sizes = ", ".join(f"{count:,} {split}" for split, count in data["sizes"].items())
    return [
        f"- Data: {data['origin']}; {sizes}; SHA-256 `{data['sha256']}`",
        f"- Code: vae_jax {code['version']}, commit `{code['commit']}`{', changed' if code.get('dirty') else ''}",
        f"- JAX {jax['version']} on {jax['device_count']} x {jax['device_kind']}, Python {manifest['python']}",
    ]

"""Which module may import which: the layers of the code, read from its source."""

import ast

import pytest

from tests.conftest import ROOT

FILES = sorted((ROOT / "vae_jax").rglob("*.py"))
ONLY = {  # a part may import these parts of vae_jax and no others
    "types": set(),
    "errors": set(),
    "build": {"errors"},
    "config_rules": {"errors", "build"},
    "config_file": {"errors", "build"},
    "config": {"errors", "build", "config_file", "config_rules"},
    "storage": {"errors", "config_rules"},
    "prob": {"types", "errors", "prob"},
    "nn": {"types", "errors", "nn", "prob"},
    "objectives": {"types", "errors", "prob"},
    "support": {"types", "errors", "build", "nn"},
    "regularizers": {"types", "prob"},
    "models": {  # and so no model another model
        *("types", "errors", "build", "support", "nn", "prob", "objectives", "regularizers")
    },
    "data": {"types", "errors", "build", "streams", "data"},
    "published": {"errors", "config_rules"},
    "streams": set(),
    "precision": set(),
}
# What stands above the layers.
_WHOLE = {"tasks", "run", "trained", "parts", "results", "benchmark", "sweeps", "hub", "reproduction"}
NEVER = {
    "training": {"models", "nn", "objectives", "evaluation"} | _WHOLE,
    "evaluation": {"models", "nn", "objectives", "training"} | _WHOLE,
    "reporting": {"models", "nn", "objectives", "training", "evaluation"} | _WHOLE,
    "tasks": {"models", "nn", "objectives", "run", "benchmark", "sweeps", "reproduction"},
    "reproduction": {"models", "nn", "objectives", "benchmark"},
    **{part: {"benchmark", "sweeps", "reproduction"} for part in ("run", "trained", "parts", "results", "cli")},
}
OWNERS = {
    "flax": {"nn", "models", "benchmark/flax_example.py"},
    "orbax": {"training/checkpoint.py"},
    "huggingface_hub": {"hub.py"},
    "optuna": {"sweeps/study.py"},
    **{library: {"reporting/trackers"} for library in ("wandb", "mlflow", "tensorboardX")},
    **{library: {"benchmark"} for library in ("torch", "pythae")},
    **{library: {"data"} for library in ("tensorflow_datasets", "grain", "pooch", "datasets")},
}


def imports(file):
    """Return all imported modules in dotted form, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_stay_within_the_layers(file):
    inside = file.relative_to(ROOT / "vae_jax")
    part, names = inside.with_suffix("").parts[0], imports(file)
    ours = {name.split(".")[1] for name in names if name.startswith("vae_jax.")} - {"__version__"}
    assert ours <= ONLY.get(part, ours)
    assert not ours & NEVER.get(part, set())
    outside = {name.split(".")[0] for name in names}
    assert not outside & {"scripts", "configs", "tests"}
    for library in outside & OWNERS.keys():
        assert {part, str(inside), str(inside.parent)} & OWNERS[library], f"{library} belongs into {OWNERS[library]}"


@pytest.mark.parametrize("library", ["flax", "orbax"])
def test_owners_are_found_where_they_are(library):
    owners = OWNERS[library]
    users = {str(f.relative_to(ROOT / "vae_jax")) for f in FILES if any(n.split(".")[0] == library for n in imports(f))}
    assert {user if user in owners else user.split("/")[0] for user in users} == owners

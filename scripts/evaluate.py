"""Evaluate a trained run: -ELBO and importance-weighted -log p(x), in nats per example.

    python scripts/evaluate.py --workdir=RUN [--split=test] [--num_samples=5000]

Prints the figures and writes evaluation-<split>-k<num_samples>.json in the run folder.
"""

from vae_jax import cli
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError
from vae_jax.storage import write_json
from vae_jax.training.folder import read_config


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument("--split", default="test", choices=("train", "validation", "test"))
    flags.add_argument("--num_samples", type=int, default=5000, help="importance samples k per example (default: 5000)")
    flags.add_argument("--num_images", type=int, help="evaluate so many evenly spaced examples only (default: all)")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    for name in ("num_samples", "num_images"):
        if (value := getattr(args, name)) is not None and value < 1:
            raise ConfigError(f"--{name}={value} is not allowed: expected 1 or more")
    dataset = load_dataset(read_config(args.workdir), args.data_dir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.reporting.table import figure_lines
    from vae_jax.results import evaluate_split
    from vae_jax.run import use_compilation_cache

    use_compilation_cache()
    results = evaluate_split(args.workdir, dataset, args.split, args.num_samples, args.num_images)
    some = f"-{args.num_images}" if args.num_images else ""
    path = args.workdir / f"evaluation-{args.split}{some}-k{args.num_samples}.json"
    write_json(path, results)
    say("\n".join(figure_lines(results)))
    say(f"written to {path}")


if __name__ == "__main__":
    cli.main(main)

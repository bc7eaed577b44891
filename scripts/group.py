"""Group the pictures of a run by their codes, without labels, and see what the groups and the codes are worth.

    python scripts/group.py --workdir=RUN [--split=test] [--clusters=K]

Writes grouping-<split>.json in the run folder: accuracy, NMI and ARI of k-means and of a Gaussian mixture in the latent
space, and of the clusters of a VaDE, beside k-means of pixels and of principal components; the test accuracy of
nearest-neighbour and linear probes that are given 10, 100, 1000 or all training labels of each class. Draws the
pictures nearest to each group's centre and a map of the codes. Without labels there are groups,
the map and no figures of agreement.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.storage import write_json
from vae_jax.training.folder import read_config


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument("--split", default="test", choices=("train", "test", "all"), help="what is grouped")
    flags.add_argument("--clusters", type=int, help="number of groups (default: the number of classes)")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    if args.clusters is not None and args.clusters < 2:
        raise ConfigError(f"--clusters={args.clusters} is not allowed: expected 2 or more")
    read_config(args.workdir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.grouping import group, summary
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    saved = open_saved(args.workdir, args.data_dir)
    results = group(saved, args.split, args.clusters, say)
    path = saved.folder / f"grouping-{args.split}.json"
    write_json(path, results)
    say(summary(results))
    say(f"written to {path}; groups_{args.split}.png, groups_map_{args.split}.png in {saved.folder / 'pictures'}")


if __name__ == "__main__":
    cli.main(main)

"""Measure how disentangled the codes of a trained run are, on data whose factors are known: sprites or dsprites.

    python scripts/disentangle.py --workdir=RUN [--num=10000] [--seed=0] [--data_dir=FOLDER]

Writes disentanglement.json in the run folder, all of it of the same test pictures: of the total correlation of draws of
the posterior a lower bound, by a classifier that learned from draws of training pictures, and the figure of a normal
distribution of the same covariance, also of the posterior means, all in nats; the mutual information gap (20 bins) with
that of each factor; and what the model measures of a picture, such as distortion and -ELBO.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.training.folder import read_config


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument("--num", type=int, default=10000, help="at most so many test pictures (default: 10000)")
    flags.add_argument("--seed", type=int, default=0, help="of the draws")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    if args.num < 1:
        raise ConfigError(f"--num={args.num} is not allowed: expected 1 or more")
    if not 0 <= args.seed < 2**32:
        raise ConfigError(f"--seed={args.seed} is not allowed: expected 0..4294967295")
    read_config(args.workdir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.reporting.table import figure_lines
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.disentangling import disentangle
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    figures = disentangle(open_saved(args.workdir, args.data_dir), args.num, args.seed)
    say("\n".join(figure_lines(figures)))
    say(f"written to {args.workdir / 'disentanglement.json'}")


if __name__ == "__main__":
    cli.main(main)

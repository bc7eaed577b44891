"""Look at what a trained run generates, and measure it.

    python scripts/look.py --workdir=RUN [--sampler=gmm] [--num=1000] [--seed=0] [--data_dir=FOLDER]

Writes generation.json in the run folder, and in its pictures/: neighbours.png (samples above the nearest training
pictures), interpolations.png (straight lines between the codes of test pictures) and latent_walks.png (one latent per
row). A sharpness is the share of high-frequency power divided by that of the test pictures: below 1 is blurred. With
labels a classifier trained on real pictures tells which classes the samples show, and its features how close they are
to the test pictures: Frechet distance, precision and recall, density and coverage. For a sampler see sample.py.
"""

import os

from vae_jax import cli
from vae_jax.errors import ConfigError


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument(
        "--num", type=int, default=1000, help="samples, and at most so many test pictures (default: 1000)"
    )
    flags.add_argument("--seed", type=int, default=0)
    cli.add_sampler(flags)
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    if args.num < 2:
        raise ConfigError(f"--num={args.num} is not allowed: expected 2 or more")
    if not 0 <= args.seed < 2**32:
        raise ConfigError(f"--seed={args.seed} is not allowed: expected 0..4294967295")
    cli.check_sampler(args.sampler)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.reporting.table import figure_lines
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.generation import look
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    figures, pictures = look(open_saved(args.workdir, args.data_dir), args.num, args.seed, args.sampler)
    say("\n".join(figure_lines({name: value for name, value in figures.items() if not isinstance(value, list)})))
    say(f"written to {args.workdir / 'generation.json'}; pictures: " + ", ".join(map(os.path.relpath, pictures)))


if __name__ == "__main__":
    cli.main(main)

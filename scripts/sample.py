"""Draw new pictures from a trained run, as one PNG.

    python scripts/sample.py --workdir=RUN [--num=64] [--label=7] [--temperature=1.0] [--seed=0] [--out=samples.png]
        [--sampler=prior|gaussian|gmm|flow|two_stage|nearest_posterior] [--data_dir=FOLDER]

--label needs a conditional model; without it such a model draws all its labels in turn. All samplers but the prior
fit a density to the codes of training pictures, which they need the data for: a normal distribution, a mixture of 10,
a normalizing flow, a second VAE; nearest_posterior draws codes of training pictures near such draws. flow and two_stage
are for models without labels.
"""

import math

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.outputs import output_file


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument("--num", type=int, default=64, help="how many (default: 64)")
    flags.add_argument("--label", type=int, help="what to draw, for a conditional model")
    flags.add_argument("--temperature", type=float, default=1.0, help="of the noise (default: 1)")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--out", type=cli.path, default="samples.png", help="PNG file to write (default: samples.png)")
    cli.add_sampler(flags)
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    if args.num < 1:
        raise ConfigError(f"--num={args.num} is not allowed: expected 1 or more")
    if not (math.isfinite(args.temperature) and args.temperature >= 0):
        raise ConfigError(f"--temperature={args.temperature} is not allowed: expected a number, 0 or more")
    if not 0 <= args.seed < 2**32:
        raise ConfigError(f"--seed={args.seed} is not allowed: expected 0..4294967295")
    cli.check_sampler(args.sampler)
    cli.check_label(args.workdir, args.label)
    out = output_file(args.out, ".png")
    # JAX is imported from here on.
    from vae_jax.reporting.figures import save_grid
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.generation import default_sampler, draw, gallery
    from vae_jax.tasks.samplers import Wanted
    from vae_jax.tasks.saved import open_saved
    from vae_jax.trained import load

    use_compilation_cache()
    trained = load(args.workdir)
    sampler = args.sampler or default_sampler(trained)
    train = None if sampler == "prior" else gallery(open_saved(args.workdir, args.data_dir))
    images = draw(trained, train, Wanted(args.num, args.label, args.temperature, args.seed), sampler)
    save_grid(out, images, columns=max(1, math.isqrt(args.num)))
    say(f"{args.num} pictures in {out}")


if __name__ == "__main__":
    cli.main(main)

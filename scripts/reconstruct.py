"""Encode and decode your own pictures with a trained run: originals above reconstructions, as one PNG.

    python scripts/reconstruct.py --workdir=RUN digit.png other.jpg [--label=7] [--invert] [--out=reconstructions.png]

Pictures are brought to the run's size as its training pictures were, and to gray where it has one channel. The models
here are trained on white digits on black; --invert turns dark ink on white paper into that.
"""

from vae_jax import cli
from vae_jax.data.pictures import read_pictures
from vae_jax.outputs import output_file
from vae_jax.training.folder import read_config, read_manifest


def main(argv):
    flags = cli.parser(__doc__)
    flags.add_argument("pictures", nargs="+", help="image files")
    cli.add_workdir(flags)
    flags.add_argument("--label", type=int, help="what the pictures show, for a conditional model")
    flags.add_argument("--invert", action="store_true", help="swap black and white first")
    name = "reconstructions.png"
    flags.add_argument("--out", type=cli.path, default=name, help=f"PNG file to write (default: {name})")
    args = cli.parse(flags, argv)
    cli.check_label(args.workdir, args.label, needed=True)
    shape, data = read_manifest(args.workdir)["data"]["shape"], read_config(args.workdir)["data"]
    images = read_pictures(args.pictures, shape, args.invert, data)
    out = output_file(args.out, ".png")
    # JAX is imported from here on.
    import numpy as np

    from vae_jax.reporting.figures import save_rows
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.trained import load

    use_compilation_cache()
    trained = load(args.workdir)
    images = trained.prepared(images, drawn=False)
    labels = None if args.label is None else np.full(len(images), args.label)
    again = trained.reconstruct(images, labels)
    save_rows(out, [images, again])
    for path, error in zip(args.pictures, np.square(again - images).mean((1, 2, 3)), strict=True):
        say(f"{path}: mse {error:.5f}")
    say(f"originals above reconstructions in {out}")


if __name__ == "__main__":
    cli.main(main)

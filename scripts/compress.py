"""Compress pictures with a trained run.

    python scripts/compress.py encode --workdir=RUN pictures.npy --out=pictures.vjx    # without loss
    python scripts/compress.py decode --workdir=RUN pictures.vjx --out=again.npy       # the same pictures, to the byte
    python scripts/compress.py evaluate --workdir=RUN                                  # figures, beside other codecs

encode takes a .npy or .npz array, uint8 [N,H,W] or [N,H,W,C], or a folder of picture files of the model's size. Of
files the decoded pixels are kept, not the bytes: they come back as PNG under their names. The model needs probabilities
of pixel values: a vae with bernoulli (pixels of 0 and 1, or 0 and 255), beta_binomial or discretized_logistic
(data.pixels=uint8). A conditional model needs labels: `labels` in the .npz, NAME_labels.npy beside the .npy, or --label
for all; they are stored too. Latents can be coded of a vae with posterior diagonal and prior standard_normal, and of a
ladder. Pictures that the model codes worse than they are, are stored as they are. Decoding needs the same run, and
refuses a machine on which the network's floats differ.

evaluate codes the test split without loss, decodes and compares it, draws rate-distortion curves of quantised codes,
and writes RUN/compression.json and RUN/pictures/compression-*.png. It takes runs without such a likelihood too.
"""

from vae_jax import cli
from vae_jax.data.load import load_dataset
from vae_jax.data.order import evenly_spaced
from vae_jax.outputs import output_file
from vae_jax.storage import write_json
from vae_jax.tasks.compression import container
from vae_jax.tasks.compression.originals import check_target, read_originals, write_originals
from vae_jax.training.folder import read_config, read_manifest

_BESIDE = 1000  # pictures that PNG is tried on


def main(argv):
    flags = cli.parser(__doc__)
    actions = flags.add_subparsers(dest="action", required=True, metavar="encode | decode | evaluate")
    for action, run in (("encode", _encode), ("decode", _decode), ("evaluate", _evaluate)):
        some = actions.add_parser(action, allow_abbrev=False)
        cli.add_workdir(some)
        some.set_defaults(run=run)
        if action == "evaluate":
            cli.add_data_dir(some)
            continue
        some.add_argument("input", type=cli.path, help="what to encode, or the .vjx file to decode")
        some.add_argument("--out", type=cli.path, required=True, help="what to write")
        if action == "encode":
            some.add_argument("--label", type=int, help="of all pictures, for a conditional model")
    args = cli.parse(flags, argv)
    args.run(args)


def _encode(args):
    cli.check_label(args.workdir, args.label)
    read_config(args.workdir)
    originals = read_originals(args.input, read_manifest(args.workdir)["data"]["shape"])
    out = output_file(args.out, ".vjx")
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.tasks.compression.codec import encode
    from vae_jax.tasks.compression.codecs import png_rate

    content = encode(_load(args), originals, args.label)
    container.write(out, content)
    images = originals.images
    rate = f", {8 * len(content) / images.size:.4f} bits/dim" if images.size else ""
    say(f"{len(images)} pictures of {images.nbytes} bytes in {len(content)} bytes{rate}: {out}")
    if container.unpack(content, str(out))[0].get("stored") == "raw":
        say("stored as they are, for the model codes them worse: they are unlike what it was trained on, or too few")
    if images.size and images.shape[-1] in (1, 3):
        some = images[evenly_spaced(len(images), _BESIDE)]
        say(f"PNG, sheets of {len(some)} of them: {png_rate(some):.4f} bits/dim")


def _decode(args):
    read_config(args.workdir)
    header, payload = container.read(args.input)
    check_target(args.out, header["names"])
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.tasks.compression.codec import decode

    originals = decode(_load(args), header, payload)
    write_originals(args.out, originals)
    say(f"{len(originals.images)} pictures, as they were encoded: {args.out}")


def _evaluate(args):
    load_dataset(read_config(args.workdir), args.data_dir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.compression.report import evaluate, summary
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    saved = open_saved(args.workdir, args.data_dir)
    results = evaluate(saved)
    path = saved.folder / "compression.json"
    write_json(path, results)
    say("\n".join(summary(results)))
    say(f"written to {path}")


def _load(args):
    from vae_jax.run import use_compilation_cache
    from vae_jax.trained import load

    use_compilation_cache()
    return load(args.workdir)


if __name__ == "__main__":
    cli.main(main)

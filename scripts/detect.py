"""Find the pictures that are unlike what a model was trained on.

    python scripts/detect.py --workdir=RUN FOLDER mine.png [--score=smooth_error] [--out=anomalies.png] [--invert]
    python scripts/detect.py --workdir=RUN --against=fashion_mnist [--data_dir=DATA]

The first ranks your own pictures: each score with its quantile among the run's validation pictures and whether it
exceeds 95 % of them, as anomalies.json and a contact sheet pictures/anomalies.png in the run folder, or as --out and a
JSON file beside it. The second writes against-NAME.json: how well each score tells the test pictures of another data
set from the run's own. Scores are those of vae_jax/tasks/anomaly/scores.py.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.outputs import picture_with_json
from vae_jax.storage import subfolder, write_json
from vae_jax.training.folder import read_config, read_manifest


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    flags.add_argument("pictures", nargs="*", type=cli.path, help="image files, and folders of them")
    flags.add_argument("--score", help="how to score (default: neg_elbo; reconstruction_error without a likelihood)")
    flags.add_argument("--invert", action="store_true", help="swap black and white first")
    flags.add_argument("--out", type=cli.path, help="PNG file to write; a JSON file lies beside it")
    flags.add_argument("--against", help="name of a data set, as in data.name")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    for flag in ("pictures", "score", "invert", "out"):
        if args.against and getattr(args, flag):
            raise ConfigError(f"{flag if flag == 'pictures' else f'--{flag}'} and --against do not go together")
    if not args.pictures and not args.against:
        raise ConfigError("no pictures given: name files or folders, or --against=DATASET; see --help")
    read_config(args.workdir)
    if args.against:
        _against(args)
    else:
        _rank(args)


def _rank(args):
    from vae_jax.data.pictures import read_pictures
    from vae_jax.tasks.anomaly.files import given_pictures

    paths = given_pictures(args.pictures)
    shape, data = read_manifest(args.workdir)["data"]["shape"], read_config(args.workdir)["data"]
    images = read_pictures(paths, shape, args.invert, data)
    out = picture_with_json(args.out, args.workdir) if args.out else args.workdir / "pictures" / "anomalies.png"
    json_file = out.with_suffix(".json") if args.out else args.workdir / "anomalies.json"
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.anomaly.detect import default_score, make_detector, rank, save_sheet
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    saved = open_saved(args.workdir, args.data_dir)
    found = rank(saved, make_detector(saved, args.score or default_score(saved)), images, paths)
    subfolder(out.parent)
    save_sheet(out, images, paths, found)
    write_json(json_file, found)
    for one in found["pictures"]:
        mark = "anomalous" if one["anomalous"] else "normal"
        say(f"{one['path']}: {one['score']:.5g}, above {100 * one['quantile']:.1f} % of held-out pictures, {mark}")
    say(f"{found['score']}, threshold {found['threshold']:.5g}; written to {json_file} and {out}")


def _against(args):
    from vae_jax.build import fill
    from vae_jax.data.load import open_dataset

    other = open_dataset(fill("data.sources", {"name": args.against}, "--against"), args.data_dir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.anomaly.detect import against, against_table
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    found = against(open_saved(args.workdir, args.data_dir), other)
    path = args.workdir / f"against-{args.against}.json"
    write_json(path, found)
    say(f"normal: {found['normal']}; anomalies: {found['anomalous']}\n{against_table(found)}")
    say(f"written to {path}")


if __name__ == "__main__":
    cli.main(main)

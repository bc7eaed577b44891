"""Find the pictures that are most like yours to a trained model: those whose codes are nearest.

    python scripts/search.py --workdir=RUN --query mine.png [more.png] [--num=10] [--gallery=FOLDER] [--invert]
    python scripts/search.py --workdir=RUN --evaluate

It searches in the run's training pictures, or in a folder of yours, and writes a PNG with a row for each query, itself
first, and a JSON file beside it. The index is kept in RUN/index and made anew when the model or the pictures change.
--evaluate writes RUN/search.json, with some queries in RUN/pictures/search.png: how many of the nearest pictures have
the label of a test picture, by codes, by pixels and by principal components, and what an approximate search costs and
gains.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.outputs import picture_with_json
from vae_jax.storage import write_json
from vae_jax.training.folder import read_config, read_manifest


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_workdir(flags)
    what = flags.add_mutually_exclusive_group(required=True)
    what.add_argument("--query", nargs="+", help="image files")
    what.add_argument("--evaluate", action="store_true", help="measure on the test split of the run's data")
    flags.add_argument("--num", type=int, help="neighbours of each query (default: 10)")
    flags.add_argument("--gallery", type=cli.path, help="folder of pictures to search in (default: the training split)")
    how = flags.add_mutually_exclusive_group()
    how.add_argument("--exact", action="store_true", help="compare with every picture (default)")
    how.add_argument("--approximate", action="store_true", help="look in an eighth of the cells only")
    flags.add_argument("--invert", action="store_true", help="swap black and white first, in --gallery too")
    name = "neighbours.png"
    flags.add_argument("--out", type=cli.path, help=f"PNG file to write; a JSON file lies beside it (default: {name})")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    for flag in ("num", "gallery", "exact", "approximate", "invert", "out"):
        if args.evaluate and getattr(args, flag):
            raise ConfigError(f"--{flag} goes with --query, not with --evaluate")
    if args.num is not None and args.num < 1:
        raise ConfigError(f"--num={args.num} is not allowed: expected 1 or more")
    read_config(args.workdir)
    if args.evaluate:
        _evaluate(args)
    else:
        _query(args, picture_with_json(args.out or cli.path(name), args.workdir))


def _evaluate(args):
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.retrieval import evaluate, summary
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    saved = open_saved(args.workdir, args.data_dir)
    results = evaluate(saved, say)
    write_json(saved.folder / "search.json", results)
    say(summary(results))
    say(f"written to {saved.folder / 'search.json'}; some queries in {saved.folder / 'pictures' / 'search.png'}")


def _query(args, out):
    from vae_jax.data.pictures import read_pictures

    shape, data = read_manifest(args.workdir)["data"]["shape"], read_config(args.workdir)["data"]
    images = read_pictures(args.query, shape, args.invert, data)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.gallery import folder_pictures, open_index, training_pictures
    from vae_jax.tasks.retrieval import describe, save_neighbours
    from vae_jax.tasks.saved import open_saved
    from vae_jax.trained import load

    use_compilation_cache()
    if args.gallery:
        trained = load(args.workdir)
        gallery = folder_pictures(args.gallery, trained, args.invert)
    else:
        saved = open_saved(args.workdir, args.data_dir)
        trained, gallery = saved.trained, training_pictures(saved)
    num = args.num or min(10, gallery.count)
    if num > gallery.count:
        raise ConfigError(f"--num={num} is more than the {gallery.count} pictures to search in")
    images = trained.prepared(images, drawn=False)
    exact, approximate = open_index(args.workdir, trained, gallery, say)
    found = (approximate if args.approximate else exact).search(trained.encode(images), num)
    save_neighbours(out, images, [f"query {i + 1}" for i in range(len(images))], found, gallery)
    neighbours = describe(found, gallery)
    write_json(
        out.with_suffix(".json"),
        {
            "search": "approximate" if args.approximate else "exact",
            "num_gallery": gallery.count,
            "queries": [{"path": path, "neighbours": n} for path, n in zip(args.query, neighbours, strict=True)],
        },
    )
    for path, (nearest, *_) in zip(args.query, neighbours, strict=True):
        distance = nearest.pop("distance")
        say(f"{path}: nearest {', '.join(f'{name} {value}' for name, value in nearest.items())}, at {distance:.4g}")
    say(f"neighbours in {out} and {out.with_suffix('.json')}")


if __name__ == "__main__":
    cli.main(main)

"""Look at and prepare data sets.

    python scripts/data.py list                                    # every source, and whether it is ready
    python scripts/data.py prepare mnist --data_dir=FOLDER         # find or download, check, decode; sizes and SHA-256
    python scripts/data.py show folder --data_dir=PICTURES --config.data.size=64 [--out=.]

`show` writes a picture of each split, folder-train.png and so on, and prints sizes, value ranges and class counts.
Fields of a source are given as --config.data.field=value; configs/base.py names them.
"""

import pathlib

from vae_jax import cli, config
from vae_jax.data.catalog import listing, summary
from vae_jax.data.load import open_dataset
from vae_jax.errors import ConfigError, OutputError

_CONFIG = pathlib.Path(__file__).resolve().parent.parent / "configs" / "digits.py"


def main(argv):
    flags = cli.parser(__doc__)
    flags.add_argument("action", choices=("list", "prepare", "show"))
    flags.add_argument("name", nargs="?", help="a source, as config.data.name takes it")
    flags.add_argument("--out", type=cli.path, default=pathlib.Path("."), help="folder for the pictures (default: .)")
    cli.add_data_dir(flags)
    args, overrides = cli.parse_with_overrides(flags, argv)
    if args.action == "list":
        if args.name or overrides:
            raise ConfigError("list takes no name and no fields")
        print("\n".join(listing()))
        return
    if not args.name:
        raise ConfigError(f"{args.action} needs the name of a source; `data.py list` names them")
    for field in overrides:
        if not field.startswith("data."):
            raise ConfigError(f"--config.{field} is not a field of the data; only --config.data.* can be given")
    if "data.name" in overrides:
        raise ConfigError(f"the data are named twice: {args.name}, and --config.data.name={overrides['data.name']}")
    if args.action == "show" and not args.out.is_dir():
        raise OutputError(f"--out={args.out} is no folder")
    settings = config.load(str(_CONFIG), {"data.name": args.name, **overrides})
    dataset = open_dataset(settings["data"], args.data_dir)
    print("\n".join(summary(dataset, counts=args.action == "show")))
    if args.action == "show":
        _draw(dataset, args.out)


def _draw(dataset, out):
    from vae_jax.reporting.figures import save_grid

    for split in dataset.splits:
        path = out / f"{dataset.name.replace('/', '-')}-{split}.png"
        try:
            save_grid(path, dataset.pictures(split, 100)[0], columns=10)
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
        print(f"{split}: {path}")


if __name__ == "__main__":
    cli.main(main)

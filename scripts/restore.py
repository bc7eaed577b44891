"""Restore damaged pictures with a run that was trained on a corruption: noise, hidden pixels, missing colour.

    python scripts/restore.py --workdir=RUN old.png other.jpg [--out=restored]
    python scripts/restore.py --workdir=RUN --evaluate

Your pictures are taken as damaged as they are; with --corrupt they are taken as clean, and the run's own corruption is
added first, so that the error before and after can be told. The restored pictures lie in --out as PNG files of the same
names and sizes, beside a sheet of all, before_after.png.

A model takes pictures of one size. --by=tiles restores others in overlapping tiles of that size, blended smoothly: for
noise and other damage that can be mended by what is near it. --by=whole brings a picture to that size and back, which
loses detail, except where colour is added: all of the luminance is kept, and only the colour is coarse. The default is
whole for colour, else tiles. A model of digits knows whole digits: let yours fill the picture, and take --by=whole.

--evaluate measures the run on its test split, with the linear optimum, the median filter and PCA beside it, and writes
RUN/restoration.json and RUN/pictures/restoration.png.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError
from vae_jax.storage import replacing, subfolder, write_json
from vae_jax.training.folder import read_config, read_manifest


def main(argv):
    flags = cli.parser(__doc__)
    flags.add_argument("pictures", nargs="*", help="image files")
    cli.add_workdir(flags)
    flags.add_argument("--evaluate", action="store_true", help="measure on the test split of the run's data")
    flags.add_argument("--out", type=cli.path, help="folder for the restored pictures (default: restored)")
    flags.add_argument("--by", choices=("tiles", "whole"), help="how to restore pictures of another size")
    flags.add_argument("--shifts", action="store_true", help="average over shifts of a pixel: less noise, 5x the work")
    flags.add_argument("--corrupt", action="store_true", help="add the run's corruption first")
    flags.add_argument("--invert", action="store_true", help="swap black and white before, and back after")
    flags.add_argument("--label", type=int, help="what the pictures show, for a conditional model")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    for flag in ("pictures", "out", "by", "shifts", "corrupt", "invert", "label"):
        if args.evaluate and getattr(args, flag) not in (None, False, []):
            raise ConfigError(f"{flag if flag == 'pictures' else f'--{flag}'} and --evaluate do not go together")
    if not args.evaluate and not args.pictures:
        raise ConfigError("no pictures are given; name some, or take --evaluate")
    from vae_jax.tasks.own_pictures import check_restores

    check_restores(read_config(args.workdir))
    if args.evaluate:
        _evaluate(args)
    else:
        _restore(args)


def _evaluate(args):
    # JAX is imported from here on.
    from vae_jax.reporting.figures import save_rows
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.restoration import evaluate, lines
    from vae_jax.tasks.saved import open_saved

    use_compilation_cache()
    saved = open_saved(args.workdir, args.data_dir)
    results, rows = evaluate(saved)
    write_json(saved.folder / "restoration.json", results)
    sheet = saved.folder / "pictures" / "restoration.png"
    with replacing(sheet) as part:
        subfolder(sheet.parent)
        save_rows(part, rows)
    say("\n".join(lines(results)))
    say(f"written to {saved.folder / 'restoration.json'}")
    say(f"rows of {sheet}: clean, {', '.join(results['methods'])}")


def _restore(args):
    from vae_jax.tasks import own_pictures

    cli.check_label(args.workdir, args.label, needed=True)
    shape = read_manifest(args.workdir)["data"]["shape"]
    given = own_pictures.read_own(args.pictures, shape[2], args.invert)
    out = args.out or cli.path("restored")
    files = own_pictures.files_in(out, args.pictures)
    # JAX is imported from here on.
    from vae_jax.evaluation.image_quality import psnr
    from vae_jax.reporting.progress import say
    from vae_jax.run import use_compilation_cache
    from vae_jax.tasks.restoration import restore
    from vae_jax.trained import load

    use_compilation_cache()
    trained = load(args.workdir)
    stages = restore(trained, given, args.by, args.label, args.corrupt, args.shifts)
    for i, file in enumerate(files):
        restored = stages["restored"][i]
        own_pictures.save_picture(file, 1 - restored if args.invert else restored)
        made = [stages[stage][i].clip(0, 1) for stage in list(stages)[1:]]
        errors = [f"{psnr(picture[None], given[i][None])[0]:.2f} dB" for picture in made]
        told = f", PSNR {errors[0]} before and {errors[1]} after" if args.corrupt else ""
        say(f"{args.pictures[i]} restored as {file}{told}")
    own_pictures.save_sheet(out / own_pictures.SHEET, stages, [file.stem for file in files])
    say(f"all of them: {out / own_pictures.SHEET}")


if __name__ == "__main__":
    cli.main(main)

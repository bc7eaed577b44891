"""Train one model: `python scripts/train.py --config=configs/digits.py [--workdir=...] [--config.hypers.beta=4]`.

The same command on the same run folder resumes an interrupted run. Results, metrics, checkpoints and pictures are in
the run folder, by default runs/<config>-<its fingerprint>.
"""

import pathlib

from vae_jax import cli, config
from vae_jax.data.load import load_dataset
from vae_jax.training.folder import open_folder


def main(argv):
    started_at = cli.process_started_at()
    flags = cli.parser(__doc__)
    flags.add_argument("--config", default="configs/digits.py", help="config file, with :argument if it takes one")
    flags.add_argument("--workdir", type=cli.path, help="run folder (default: runs/<config>-<fingerprint>)")
    cli.add_data_dir(flags)
    args, overrides = cli.parse_with_overrides(flags, argv)
    settings = config.load(args.config, overrides)
    stem = pathlib.Path(args.config.partition(":")[0]).stem
    workdir = args.workdir or pathlib.Path("runs", f"{stem}-{config.fingerprint(settings)[:8]}")
    dataset = load_dataset(settings, args.data_dir)
    with open_folder(workdir, settings) as folder:
        # JAX is imported from here on, when nothing is left that a config could have wrong.
        from vae_jax.reporting.progress import say
        from vae_jax.reporting.table import results_table
        from vae_jax.run import run, use_compilation_cache

        use_compilation_cache()
        say(f"run folder: {folder}")
        say(results_table(run(settings, dataset, folder, started_at)))


if __name__ == "__main__":
    cli.main(main)

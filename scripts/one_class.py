"""Anomaly detection with one class as normal, for every class in turn, all models in one program.

    python scripts/one_class.py --config=configs/one_class.py:variant=mnist --data_dir=DATA [--workdir=RUN]

Each model is trained on the pictures of one class alone and scores the whole test split. Prints the table of all
scores and baselines, and writes one_class.json and pictures in the run folder, by default runs/<config>-<fingerprint>.
The same command on a finished run prints its results; an interrupted run starts again from the beginning.
"""

from vae_jax import cli, config
from vae_jax.data.load import load_dataset
from vae_jax.training.folder import open_folder


def main(argv):
    flags = cli.parser(__doc__)
    cli.add_config(flags, default="configs/one_class.py")
    flags.add_argument("--sequential", action="store_true", help="train one model after another, to compare the time")
    cli.add_data_dir(flags)
    args, overrides = cli.parse_with_overrides(flags, argv)
    settings = config.load(args.config, overrides)
    dataset = load_dataset(settings, args.data_dir)
    with open_folder(cli.run_folder(args, config.fingerprint(settings)), settings) as folder:
        # JAX is imported from here on.
        from vae_jax.reporting.progress import say
        from vae_jax.run import use_compilation_cache
        from vae_jax.tasks.anomaly.one_class import run
        from vae_jax.tasks.anomaly.report import table
        from vae_jax.training.member_mesh import one_device_per_core

        use_compilation_cache()
        one_device_per_core()
        results = run(settings, dataset, folder, args.sequential, say)
        say(table(results))
        say(f"written to {folder}: one_class.json, pictures/one_class.png, pictures/roc.png")


if __name__ == "__main__":
    cli.main(main)

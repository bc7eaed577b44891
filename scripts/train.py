"""Train one model: `python scripts/train.py --config=configs/digits.py [--workdir=...] [--config.hypers.beta=4]`.

The same command on the same run folder resumes an interrupted run. Results, metrics, checkpoints and pictures are in
the run folder, by default runs/<config>-<its fingerprint>. Several processes train one model under `srun`, or when each
is started with --coordinator=host:port --num_processes=N --process_id=I. --trackers=tensorboard,wandb,mlflow shows the
metrics there too.
"""

from vae_jax import cli, config
from vae_jax.data.load import load_dataset
from vae_jax.reporting.tracking import parse_names
from vae_jax.training.joining import joined, open_shared


def main(argv):
    started_at = cli.process_started_at()
    flags = cli.parser(__doc__)
    cli.add_config(flags, default="configs/digits.py")
    cli.add_data_dir(flags)
    cli.add_processes(flags)
    cli.add_trackers(flags)
    args, overrides = cli.parse_with_overrides(flags, argv)
    place, trackers = cli.check_processes(args), parse_names(args.trackers)
    settings = config.load(args.config, overrides)
    fingerprint = config.fingerprint(settings)
    with joined(place, fingerprint) as hosts:  # at once for a process alone
        dataset = load_dataset(settings, args.data_dir)
        with open_shared(hosts, cli.run_folder(args, fingerprint), settings) as folder:
            # JAX is imported from here on, when nothing is left that a config could have wrong.
            from vae_jax.reporting.progress import say
            from vae_jax.reporting.table import results_table
            from vae_jax.run import run, use_compilation_cache

            use_compilation_cache()
            say(f"run folder: {folder}")
            say(results_table(run(settings, dataset, folder, started_at, hosts, trackers)))


if __name__ == "__main__":
    cli.main(main)

"""Train a model for every point of a sweep, as many as can be in one program.

    python scripts/sweep.py --config=configs/digits.py --sweep=beta              # sweep_beta() of the config file
    python scripts/sweep.py --set hypers.beta=1,2,4 --set "seed=range(10)"       # all combinations, 30 runs
    python scripts/sweep.py --range "hypers.beta=log_uniform(0.1,10)" --search=tpe --num=40 [--prune=asha]
    python scripts/sweep.py status --workdir=SWEEP                               # where the runs stand
    python scripts/sweep.py table --workdir=SWEEP [--metric=test.mse]            # means over seeds; table.csv
    python scripts/sweep.py plot --workdir=SWEEP [--metric=test.mse]             # pictures

Values are such as 1,2,4 or (500,),(200,200) or range(10), linspace(0,1,5), geomspace(1e-4,1e-2,3); with --zip in place
of --set the first values go together, and the second ones. With --range field=log_uniform(1e-4,1e-2) --num=20 points
are drawn; uniform(0,1), whole(2,64) and choices a,b,c are the other ranges. `variant` stands for the config's argument.
--config.path.to.field=value holds for all runs.

With --search, points are chosen by the validation figures of the runs before them (Optuna's TPE), or at random, a batch
of --parallel at a time; --search=grid takes those of --set in their order, which is of use with --prune alone. --prune
ends bad runs early. The same search asks for the same points once more, and after any kill; but with --prune it need
not, for what is ended depends on the order in which figures arrive. A larger --num goes on. study.db is for Optuna's
own tools.

The same command goes on where it was interrupted, and runs nothing twice; --retry runs again what has failed. Runs that
differ in seed and hyperparameters are members of one program, others processes of their own. --dry_run tells of them.
"""

from vae_jax import cli
from vae_jax.errors import ConfigError


def main(argv):
    actions = {"status": _status, "table": _table, "plot": _plot}
    if argv and argv[0] in actions:
        actions[argv[0]](argv[1:])
    else:
        _run(argv)


def _run(argv):
    from vae_jax.sweeps import command

    flags = cli.parser(__doc__)
    command.add_flags(flags)
    cli.add_data_dir(flags)
    cli.add_trackers(flags, default="none")
    args, common = cli.parse_with_overrides(flags, argv)
    command.run(args, common)


def _status(argv):
    from vae_jax.sweeps.folder import read_sweep
    from vae_jax.sweeps.report import status_text

    args = _read(argv, "status")
    read_sweep(args.workdir)
    print(status_text(args.workdir))


def _table(argv):
    from vae_jax.sweeps.report import table_text
    from vae_jax.sweeps.table import check_validation, write_table

    args, rows, metric = _rows(argv, "table")
    if args.select_by:
        check_validation(rows, args.select_by)
    print(table_text(rows, metric, args.select_by))
    print("written: " + ", ".join(map(str, write_table(args.workdir, rows))))


def _plot(argv):
    from vae_jax.sweeps.report import draw

    args, rows, metric = _rows(argv, "plot")
    print("written: " + ", ".join(map(str, draw(args.workdir, rows, metric))))


def _rows(argv, action):
    from vae_jax.sweeps.folder import read_sweep
    from vae_jax.sweeps.table import default_metric, make_rows

    args = _read(argv, action, figures=True)
    read_sweep(args.workdir)
    rows = make_rows(args.workdir)
    if not rows:
        raise ConfigError(f"sweep {args.workdir} has no runs")
    return args, rows, args.metric or default_metric(rows)


def _read(argv, action, figures=False):
    flags = cli.parser(f"sweep.py {action}: see sweep.py --help.")
    flags.add_argument("--workdir", type=cli.path, required=True, help="folder of the sweep")
    if figures:
        flags.add_argument("--metric", help="figure, such as test.nll_nats (default: the likelihood, or the error)")
    if action == "table":
        flags.add_argument("--select_by", help="validation figure of the best run (default: -ELBO, or the loss)")
    return cli.parse(flags, argv)


if __name__ == "__main__":
    cli.main(main)

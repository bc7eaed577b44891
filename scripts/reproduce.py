"""Do a finished run again and compare, or make a published table again.

    python scripts/reproduce.py RUN [--workdir=OUT]                # run it again; by default into RUN-again
    python scripts/reproduce.py --table=iwae --seeds=3 --data_dir=DATA    # train, measure, write docs/tables/iwae.jsonl
    python scripts/reproduce.py --render                           # docs/results.md from docs/tables/*.jsonl

RUN is a folder of train.py. It says first what of code, versions and machine is not that of the run. Where nothing is
that bits depend on, metrics, results and the final checkpoint must be equal to the bit; else metrics and results must
be within --tolerance, the first training loss within a twentieth of it. Exit code 0 if so, 77 if not, with the figures
that differ. RUN is left as it is; the same command resumes an interrupted one.

A table's runs are in runs/tables/TABLE, a folder for each row and seed. Finished ones are not run again and interrupted
ones are resumed (those of oneclass start again), so the command may be stopped and repeated.
"""

import pathlib

from vae_jax import cli
from vae_jax.data.load import load_dataset
from vae_jax.errors import ConfigError, DataError, OutputError
from vae_jax.outputs import output_file
from vae_jax.reproduction import render, tables

_ROOT = pathlib.Path(__file__).parent.parent
_TABLES = _ROOT / "docs" / "tables"
_PAGE = _ROOT / "docs" / "results.md"
# Of MNIST runs on one core instead of two, figures differed by up to 0.5 %, gradient norms by 1 %; the first loss by
# 0.002 %, and by 0.7 % with another seed. Small networks on digits stay within 0.0003 %.
_TOLERANCE = 0.02


def main(argv):
    flags = cli.parser(__doc__)
    flags.add_argument("run", nargs="?", type=cli.path, metavar="RUN", help="folder of a finished run")
    flags.add_argument("--table", help=f"{', '.join(tables.TABLES)}")
    flags.add_argument("--render", action="store_true", help="write docs/results.md")
    flags.add_argument("--workdir", type=cli.path, help="where it is run (default: RUN-again, runs/tables/TABLE)")
    flags.add_argument("--tolerance", type=float, help=f"relative, where bits may differ (default: {_TOLERANCE})")
    flags.add_argument("--row", help="one row of the table (default: all)")
    flags.add_argument("--seeds", type=int, help="how many, from 0 (default: 1)")
    flags.add_argument("--out", type=cli.path, help="folder for TABLE.jsonl (default: docs/tables)")
    flags.add_argument("--check", action="store_true", help="with --render: write nothing, fail if it is not current")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    _check(args)
    if args.render:
        _render(args)
    elif args.table:
        _make(args)
    else:
        _again(args)


def _check(args):
    """Refuse flags that the task does not read."""
    chosen = [name for name, value in (("RUN", args.run), ("--table", args.table), ("--render", args.render)) if value]
    if len(chosen) != 1:
        raise ConfigError(f"expected one of RUN, --table and --render, and {' and '.join(chosen) or 'none'} is given")
    readers = {"tolerance": "RUN", "row": "--table", "seeds": "--table", "out": "--table", "check": "--render"}
    for name, reader in readers.items():
        if getattr(args, name) not in (None, False) and chosen != [reader]:
            raise ConfigError(f"--{name} goes with {reader}, not with {chosen[0]}")
    if args.workdir and args.render:
        raise ConfigError("--workdir goes with RUN or --table, not with --render")
    if args.seeds is not None and args.seeds < 1:
        raise ConfigError(f"--seeds={args.seeds} is not allowed: expected 1 or more")
    if args.tolerance is not None and not 0 <= args.tolerance < float("inf"):
        raise ConfigError(f"--tolerance={args.tolerance} is not allowed: expected a number of 0 or more")


def _again(args):
    started_at = cli.process_started_at()
    from vae_jax.reproduction.original import read_original

    original = read_original(args.run)
    workdir = (args.workdir or original.folder.with_name(f"{original.folder.name}-again")).resolve()
    if workdir.is_relative_to(original.folder):
        raise ConfigError(f"--workdir={workdir} is in the folder of the run itself; choose another")
    dataset = load_dataset(original.config, args.data_dir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.reproduction.again import run_again, summary
    from vae_jax.run import use_compilation_cache

    use_compilation_cache()
    tolerance = _TOLERANCE if args.tolerance is None else args.tolerance
    report = run_again(original, dataset, workdir, tolerance, started_at, say)
    say(f"{original.folder} is reproduced {summary(report)}")


def _make(args):
    table = tables.find(args.table)
    rows, out = tables.choose(table, args.row), args.out or _TABLES
    _check_out(out, table)
    for row in rows:
        load_dataset(tables.load(row, _ROOT, seed=0), args.data_dir)
    # JAX is imported from here on.
    from vae_jax.reporting.progress import say
    from vae_jax.reproduction.make import make
    from vae_jax.run import use_compilation_cache

    use_compilation_cache()
    workdir = args.workdir or pathlib.Path("runs", "tables", table.name)
    path = make(table, rows, range(args.seeds or 1), _ROOT, workdir, out, args.data_dir, say)
    say(f"written to {path}" + ("" if args.out else "; scripts/reproduce.py --render puts it into docs/results.md"))


def _check_out(out, table):
    """Refuse, before hours of training, a folder whose file of the table cannot be read or written."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"--out={out} is no folder and cannot be made: {error.strerror}") from error
    tables.read_record(output_file(out / f"{table.name}.jsonl", ".jsonl"))


def _render(args):
    text = render.page(_TABLES)
    if args.check and (not _PAGE.exists() or _PAGE.read_text() != text):
        raise DataError("docs/results.md is not what docs/tables say; run scripts/reproduce.py --render")
    if not args.check:
        _PAGE.write_text(text)


if __name__ == "__main__":
    cli.main(main)

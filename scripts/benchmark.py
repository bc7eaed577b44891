"""Measure this library beside others: one run, every contender in a process of its own, in turn, round after round.

    python scripts/benchmark.py [--what=train] [--only=ours,torch_compile] [--data_dir=FOLDER] [--quick]
    python scripts/benchmark.py --what=likelihood --num_images=200
    python scripts/benchmark.py --what=scaling [--rounds=N] [--seconds=S]

What is measured: `train`, images per second, memory, time to compile and to the first step; `likelihood`, -log p(x)
with k=5000 samples; `members`, many small models in one program and in one run each; `startup`, from the start of a
process to its first step; `scaling`, a step of ours as batch, width, members or devices grow, with a picture beside
the JSON file. Contenders: ours; flax, as its VAE example does it; torch, torch_fused (Adam), torch_compile
and torch_dataloader, plain loops; pythae. PyTorch and pythae come with `pip install -e '.[benchmark]'`; those that
are not installed are left out, and the table says so. It is written in Markdown beside the JSON file of --out.
"""

import pathlib
import tempfile

from vae_jax import cli
from vae_jax.benchmark.settings import NETS, choose
from vae_jax.errors import ConfigError
from vae_jax.outputs import output_file

# By what is measured: networks, batch sizes, precisions, rounds.
_DEFAULTS = {
    "train": ("mlp,conv,resnet", "128,1024", "fp32,bf16", 5),
    "likelihood": ("mlp", "128", "fp32,bf16", 3),
    "members": ("small_mlp", "64", "fp32", 1),
    "startup": ("mlp", "128", "fp32", 3),
    "scaling": ("mlp", "128", "fp32", 3),  # from which it grows
}
_QUICK = {"rounds": 1, "num_members": 2, "num_images": 2}
_NOT_OF_SCALING = ("only", "nets", "batch_sizes", "precisions", "num_images", "num_members")  # flags
_PEAK_SIDES = {"cpu": 2048, "gpu": 8192, "quick": 256}  # of the matrices whose product gives the peak


def main(argv):
    args = _parse(argv)
    names, missing = choose(args.what, args.only)
    out = output_file(args.out or cli.path(f"benchmark-{args.what}.json"), ".json")
    from vae_jax.benchmark.machine import describe
    from vae_jax.benchmark.table import markdown
    from vae_jax.reporting.progress import say
    from vae_jax.storage import write_json

    machine = describe()
    result = {"what": args.what, "machine": machine, **_measure(args, names, bool(machine["gpus"]), say)}
    result["rows"] += [{"contender": name, "skipped": reason} for name, reason in missing.items()]
    write_json(out, result)
    table = markdown(result)
    out.with_suffix(".md").write_text(table, encoding="utf-8")
    say(table)
    say(f"written to {out} and {out.with_suffix('.md')}")
    if args.what == "scaling":
        from vae_jax.benchmark.scaling import panels
        from vae_jax.reporting.figures import save_panels

        if plots := panels(result["rows"]):
            save_panels(out.with_suffix(".png"), plots)
            say(f"plotted in {out.with_suffix('.png')}")


def _measure(args, names, on_gpu, say):
    """Return what was planned, what the data were, and the rows of the table."""
    from vae_jax.benchmark.data import write_data
    from vae_jax.benchmark.rounds import Plan, measure
    from vae_jax.benchmark.scaling import measure_scaling
    from vae_jax.benchmark.whole_runs import measure_members, measure_startup

    plan = Plan(
        args.what,
        names,
        args.nets,
        args.batch_sizes,
        args.precisions,
        args.rounds,
        seconds=0.1 if args.quick else args.seconds,
        num_images=args.num_images,
        num_samples=100 if args.quick else 5000,
        num_members=args.num_members,
        epochs=3,
        peak_side=_PEAK_SIDES["quick" if args.quick else "gpu" if on_gpu else "cpu"],
        quick=args.quick,
    )
    with tempfile.TemporaryDirectory(prefix="vae_jax-benchmark-") as folder:
        folders = {net: pathlib.Path(folder, net) for net in args.nets}
        kinds = {n: write_data(where, NETS[n].shape, args.data_dir, args.quick) for n, where in folders.items()}
        whole = {"members": measure_members, "startup": measure_startup, "scaling": measure_scaling}
        rows = whole.get(args.what, measure)(plan, folders, say)
    return {"plan": plan._asdict(), "data": kinds, "rows": rows}


def _parse(argv):
    """Return the flags, lists split and defaults filled in."""
    flags = cli.parser(__doc__)
    flags.add_argument("--what", default="train", choices=list(_DEFAULTS), help="what to measure (default: train)")
    flags.add_argument("--only", help="contenders, with commas between (default: all that are installed)")
    flags.add_argument("--nets", help=f"of {', '.join(NETS)}")
    flags.add_argument("--batch_sizes", help="pictures in a step")
    flags.add_argument("--precisions", help="of fp32, bf16")
    flags.add_argument("--rounds", type=int, help="timings of each contender")
    flags.add_argument("--seconds", type=float, default=2.0, help="that a timing of training takes (default: 2)")
    flags.add_argument("--num_images", type=int, help="pictures in a timing of a likelihood (default: 100)")
    flags.add_argument("--num_members", type=int, help="models that are trained at once (default: 16)")
    flags.add_argument("--quick", action="store_true", help="a run of seconds that shows no more than that it runs")
    flags.add_argument("--out", type=cli.path, help="JSON file to write (default: benchmark-WHAT.json)")
    cli.add_data_dir(flags)
    args = cli.parse(flags, argv)
    useless = [name for name in _NOT_OF_SCALING if args.what == "scaling" and getattr(args, name) is not None]
    if useless:
        raise ConfigError(f"--{useless[0]} is not for --what=scaling, whose cases are fixed: leave it out")
    *lists, rounds = _DEFAULTS[args.what]
    usual = {"rounds": rounds, "num_members": 16, "num_images": 100} | (_QUICK if args.quick else {})
    for name, value in zip(("nets", "batch_sizes", "precisions"), lists, strict=True):
        usual[name] = value.partition(",")[0] if args.quick else value
    for name, value in usual.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    for name in ("rounds", "num_images", "num_members", "seconds"):
        if not getattr(args, name) > 0:
            raise ConfigError(f"--{name}={getattr(args, name)} is not allowed: expected more than 0")
    args.nets = _listed("nets", args.nets, NETS)
    args.precisions = _listed("precisions", args.precisions, ("fp32", "bf16"))
    sizes = args.batch_sizes.split(",")
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ConfigError(f"--batch_sizes={args.batch_sizes} is not allowed: expected numbers such as 128,1024")
    args.batch_sizes = [int(size) for size in sizes]
    return args


def _listed(name, text, allowed):
    found = text.split(",")
    unknown = [item for item in found if item not in allowed]
    if unknown:
        raise ConfigError(f"--{name}={text}: {unknown[0]!r} is unknown; there are: {', '.join(allowed)}")
    return found


if __name__ == "__main__":
    cli.main(main)

"""Share finished runs on the Hugging Face Hub; needs the extra [hub].

    python scripts/hub.py push RUN --repo=user/name [--private] [--license=mit]
    python scripts/hub.py pull user/name --workdir=RUN [--revision=COMMIT]

A push publishes config, manifest, results, metrics, pictures, the newest undamaged checkpoint and a model card; the
host, the environment but for JAX_* and XLA_*, and paths of this machine are left out. A pull reads data only, runs no
code, and checks fingerprints; the new run folder serves every script.
"""

from vae_jax import cli


def main(argv):
    flags = cli.parser(__doc__)
    commands = flags.add_subparsers(dest="command", required=True, metavar="push|pull")
    push = commands.add_parser("push", allow_abbrev=False, help="upload a finished run")
    push.add_argument("workdir", type=cli.path, metavar="RUN")
    push.add_argument("--repo", required=True, help="user/name; created if need be")
    push.add_argument("--private", action="store_true", help="only its owner may see it")
    push.add_argument("--license", help="of the parameters, by its name on the Hub, for the model card")
    pull = commands.add_parser("pull", allow_abbrev=False, help="download a run into a new folder")
    pull.add_argument("repo", metavar="user/name")
    cli.add_workdir(pull)
    pull.add_argument("--revision", help="branch, tag or commit (default: the newest)")
    args = cli.parse(flags, argv)
    # The Hub's library and JAX are imported from here on, where they are needed.
    from vae_jax import hub
    from vae_jax.reporting.progress import say
    from vae_jax.reporting.table import results_table
    from vae_jax.training.folder import read_config, read_results

    if args.command == "push":
        address = hub.push_run(args.workdir, args.repo, args.private, args.license)
        say(f"published, without host and paths: {address}")
        return
    commit = hub.pull_run(args.repo, args.workdir, args.revision)
    config = read_config(args.workdir)
    say(f"{args.workdir}: {config['model']['name']} on {config['data']['name']}, from {args.repo} at {commit}")
    if (args.workdir / "results.json").exists():
        say(results_table(read_results(args.workdir)))


if __name__ == "__main__":
    cli.main(main)

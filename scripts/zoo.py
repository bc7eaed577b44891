"""Write the table of docs/zoo.md anew, from the configs, the code and docs/results.jsonl.

    python scripts/zoo.py [--check]

--check writes nothing, and fails where the table is not the present one.
"""

import pathlib

from vae_jax import cli
from vae_jax.errors import DataError
from vae_jax.reporting import zoo

_ROOT = pathlib.Path(__file__).parent.parent
_BEGIN, _END = "<!-- table: written by scripts/zoo.py -->\n", "<!-- end of the table -->\n"


def main(argv):
    flags = cli.parser(__doc__)
    flags.add_argument("--check", action="store_true", help="compare only")
    args = cli.parse(flags, argv)
    path = _ROOT / "docs" / "zoo.md"
    text = path.read_text()
    before, _, rest = text.partition(_BEGIN)
    table = zoo.table(_ROOT / "configs", zoo.read_rows(_ROOT / "docs" / "results.jsonl"))
    new = f"{before}{_BEGIN}\n{table}\n{_END}{rest.partition(_END)[2]}"
    if args.check and new != text:
        raise DataError("docs/zoo.md is not what the configs and results say; run scripts/zoo.py")
    if not args.check:
        path.write_text(new)


if __name__ == "__main__":
    cli.main(main)

"""What any script may be given by mistake, made from its own flags: a script that is added is covered by itself."""

import argparse
from unittest import mock

import pytest

from tests.bad_input.run import BAD_INPUT, ROOT, check, run
from tests.script import load_script
from vae_jax import cli

SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))


NEEDED = {"sweep.py": ["--set=seed=0,1"]}  # which no parser tells


class _Found(Exception):
    """The parser that a script has made of its flags."""


def parser_of(script):
    """Return the parser that a script gives to `cli`."""

    def stop(flags, _):
        raise _Found(flags)

    with mock.patch.object(cli, "_parse", stop), pytest.raises(_Found) as found:
        load_script(script).main([])
    return found.value.args[0]


def minimal(flags):
    """Return arguments that are enough, and the options that may be added to them."""
    words, options = [], []
    for action in flags._actions:
        if isinstance(action, argparse._SubParsersAction):
            name, inner = next(iter(action.choices.items()))
            more, inner_options = minimal(inner)
            words += [name, *more]
            options += inner_options
        elif action.option_strings and action.dest != "help":
            options.append(action)
            words += [f"{action.option_strings[-1]}={sample(action)}"] if action.required else []
        elif not action.option_strings and action.nargs not in ("?", "*"):
            words.append(sample(action))
    for group in flags._mutually_exclusive_groups:
        if group.required:
            first = group._group_actions[0]
            words += [first.option_strings[-1], *([sample(first)] if first.nargs != 0 else [])]
    return words, options


def sample(action):
    """Return a value that an argument takes."""
    if action.choices:
        return str(next(iter(action.choices)))
    return "1" if action.type in (int, float) else "{w}/none"


def mistakes(script):
    """Yield (arguments, exit code, words that are told)."""
    flags = parser_of(script)
    words, options = minimal(flags)
    words += NEEDED.get(script, [])
    names = {action.option_strings[-1]: action for action in options}
    greedy = [action for action in flags._actions if action.nargs in ("*", "+", "?")]
    longest = max(names, key=len)
    yield [*words, longest[:-1]], 2, (f"'{longest[:-1]}' is unknown", f'did you mean "{longest}"')
    yield [*words, longest, longest], 2, (f"{longest} is given twice",)
    if not greedy:
        yield [*words, "leftover"], 2, ("'leftover' is unknown",)
        yield [*words, "workdir={w}/run"], 2, ("'workdir={w}/run' is unknown",)
    for name, action in names.items():
        if action.required:
            yield [word for word in words if not word.startswith(name)], 2, ("required", name)
        yield from wrong_values(words, name, action)
    if "--workdir" in names and names["--workdir"].required:
        pictures = ["{w}/none" for action in greedy if not action.option_strings and action.nargs == "*"]
        others = [word for word in words if not word.startswith("--workdir")] + pictures
        yield [*others, "--workdir={w}/none"], 2, ("{w}/none is no run folder",)
        yield [*others, "--workdir={w}/empty"], 2, ("{w}/empty is no run folder",)
        yield [*others, "--workdir={w}/file"], 2, ("{w}/file/config.json cannot be read: ", "Not a directory")
        yield [*others, "--workdir={w}/edited"], 65, ("{w}/edited/config.json is not the config", "edited or damaged")
    if "--config" in names:
        yield [*words, f"--config={ROOT}/configs/mnits.py"], 2, ("no config file", "did you mean", "configs/mnist.py")
        words = [*words, f"--config={ROOT}/{names['--config'].default}"]
        yield [*words, "--config.sede=1"], 2, ("'sede' is unknown", 'did you mean "seed"')
        yield [*words, "--config.seed=1", "--config.seed=2"], 2, ("--config.seed is given twice",)
        yield [*words, "--workdir={w}/file"], 73, ("--workdir={w}/file cannot be written: File exists",)


def wrong_values(words, name, action):
    """Yield the mistakes with one option."""
    others = [word for word in words if not word.startswith(name)]
    if action.nargs == 0:
        yield [*others, f"{name}=yes"], 2, (name, "ignored explicit argument")
        return
    if name not in words and name != "--config":  # not one of several that exclude each other
        yield [*others, name], 2, (name, "expected one argument")
    if action.type is cli.path:
        yield [*others, f"{name}="], 2, (name, "the path is empty")
    elif action.choices:
        yield [*others, f"{name}=nonsense"], 2, (name, "'nonsense'", *map(str, action.choices))
    elif action.type in (int, float):
        yield [*others, f"{name}=many"], 2, (name, "'many'")


CASES = [(script, *mistake) for script in SCRIPTS for mistake in mistakes(script)]


@pytest.mark.parametrize("script, words, code, told", CASES, ids=[" ".join([s, *w])[:90] for s, w, *_ in CASES])
@BAD_INPUT
def test_bad_input(world, script, words, code, told):
    check(world, " ".join([script, *words]), code, *told)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_and_mistakes_do_not_wait_for_jax(world, script):
    done = run(world, f"{script} --help")
    assert (done.returncode, done.stderr) == (0, "")
    assert script in done.stdout
    done = run(world, f"{script} --nonsense")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1

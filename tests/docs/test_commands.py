"""Risk: a page with a command line that hesspot does not take: an option that was renamed, a missing argument."""

import re
import shlex
from collections.abc import Iterator

import pytest
import typer
from blocks import PAGES, ROOT, RUN, SHOWN, blocks_of, command_lines

from hesspot.cli.examples import EXAMPLES
from hesspot.cli.main import app
from ipi_driver.cli import app as ipi_app

PROGRAMS = {"hesspot": typer.main.get_command(app), "hesspot-ipi": typer.main.get_command(ipi_app)}
PROGRAM = r"(?:python -m )?(hesspot(?:-ipi)?)(?= )"
#: What may stand before the program in a line: variables, mpirun and its like.
BEFORE = r"(?:\w+=\S+ )*(?:(?:mpirun|torchrun|srun|nohup|nice|exec)\b.*? (?:-m )?)?(?:-m )?"


def calls(line: str) -> Iterator[list[str]]:
    """Words of each call of hesspot's programs in a line of a shell script."""
    inner = re.findall(r"\$\(([^()]*)\)", line)
    outer = re.sub(r"\$\([^()]*\)", "…", line.split("\n")[0])
    for piece in [*inner, *re.split(r"\s(?:\||\|\||&&|;|:)\s|\s&$", outer)]:
        if found := re.match(rf"^\s*(?:\$ )?{BEFORE}{PROGRAM}(.*)$", piece):
            words = shlex.split(found[1] + found[2], comments=True)
            yield words[: next((i for i, word in enumerate(words) if word.startswith((">", "2>", "&"))), None)]


def parse(words: list[str]) -> None:
    """Everything that the command line does before the command itself runs."""
    command, name, rest = PROGRAMS[words[0]], words[0], words[1:]
    parent = None
    while True:
        context = command.make_context(name, list(rest), parent=parent)
        if not hasattr(command, "resolve_command"):
            return
        left = [*getattr(context, "_protected_args", []), *context.args]
        name, command, rest = command.resolve_command(context, left)
        parent = context


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_command_line_takes_what_the_pages_write(page):
    for block in blocks_of(page):
        if block.language != "bash":
            continue
        for line in command_lines(block.text):
            for words in calls(line):
                try:
                    parse(words)
                except SystemExit as ended:
                    assert not ended.code, f"{block.place}: {line}"
                except Exception as error:
                    if type(error).__name__ != "Exit":
                        raise AssertionError(f"{block.place}: `{line}`: {error}") from error


def names_of(command, before: str = "") -> list[str]:
    if not hasattr(command, "commands"):
        return [before.strip()]
    return [name for word, each in command.commands.items() for name in names_of(each, f"{before} {word}")]


@pytest.mark.parametrize("name", names_of(PROGRAMS["hesspot"]))
def test_each_help_ends_in_examples_that_the_command_takes(name):
    command = PROGRAMS["hesspot"]
    for word in name.split():
        command = command.commands[word]
    assert EXAMPLES[name] and all(line in command.epilog for line in EXAMPLES[name])
    for line in EXAMPLES[name]:
        found = list(calls(line))
        assert found and all(" ".join(words[1:]).startswith(name) for words in found)
        for words in found:
            parse(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_sentences_and_tables_exist_with_their_options(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    shown = [block.text for block in blocks_of(page) if block.language == "text"]
    text += "\n".join(f"`{line}`" for block in shown for line in block.splitlines())
    for program, arguments in re.findall(rf"`{PROGRAM} ([^`]*)`", text):
        command = PROGRAMS[program]
        words = [word for word in re.split(r"[\s\[\]|=,]+", arguments.partition("#")[0]) if word]
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words.pop(0)]
        if hasattr(command, "commands"):
            assert not words or words[0].startswith(("-", "…", "<")), f"no command: `{program} {arguments}`"
        known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help"}
        unknown = [word for word in words if re.match(r"--[a-z]", word) and word not in known]
        assert unknown == [], f"`{program} {arguments}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_its_language_and_why_it_is_not_run(page):
    for block in blocks_of(page):
        assert block.language in RUN + SHOWN, f"{block.place}: write ```bash, ```python, ```lammps, ```yaml or ```text"
        assert all(block.said("not run")), f"{block.place}: <!-- not run: WHY -->"

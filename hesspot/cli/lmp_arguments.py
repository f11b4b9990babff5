"""Commands that pass on arguments of lmp: `hesspot lammps run -n 2 in.file -var x 3`."""

from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

Extra = Annotated[list[str] | None, typer.Argument(help="arguments of lmp, as -var x 3", metavar="LMP_ARGUMENTS")]


class CommandWithLmpArguments(TyperCommand):
    """What follows IN_FILE and is no option of this command goes to lmp as it is, with `--` in front or without."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        takes_value = {
            name: not option.is_flag
            for option in self.params
            if isinstance(option, TyperOption)
            for name in (*option.opts, *option.secondary_opts)
        }
        own: list[str] = []
        script: list[str] = []
        theirs: list[str] = []
        left = list(args)
        while left:
            word = left.pop(0)
            if word == "--":
                theirs += left
                break
            name = word.split("=", 1)[0]
            if word in takes_value:
                own.append(word)
                if takes_value[word] and left:
                    own.append(left.pop(0))
            elif word.startswith("--") or name in takes_value or self._is_attached(word, takes_value):
                own.append(word)  # --ranks=2, -n2, or not known
            elif not script and word in ("-in", "-i") and left:
                script = [left.pop(0)]
            elif not script and (word == "-" or not word.startswith("-")):
                script = [word]
            elif not script:
                ctx.fail(f"{word} is no option of this command; arguments of lmp follow the input script")
            else:
                theirs.append(word)
        return super().parse_args(ctx, [*own, "--", *script, *theirs])

    @staticmethod
    def _is_attached(word: str, takes_value: dict[str, bool]) -> bool:
        """Whether this is `-n2`: a short option together with its number."""
        return takes_value.get(word[:2], False) and word[2:].isdecimal()

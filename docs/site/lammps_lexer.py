"""Colours for input scripts of LAMMPS, which Pygments does not know."""

from typing import ClassVar

from pygments.lexer import RegexLexer, bygroups
from pygments.token import Comment, Keyword, Name, Number, String, Text


class LammpsLexer(RegexLexer):
    """A command at the start of each line; then styles, numbers, strings and variables."""

    name = "LAMMPS"
    aliases: ClassVar = ["lammps"]
    tokens: ClassVar = {
        "root": [
            (r"#.*", Comment),
            (r"^([ \t]*)([a-z]\w*)", bygroups(Text, Keyword)),
            (r"\$\{\w+\}|\$\w|\b[vcf]_\w+", Name.Variable),
            (r'"[^"\n]*"', String),
            (r"(?<![\w.])-?\d+(\.\d*)?([eE][-+]?\d+)?(?![\w.])", Number),
            (r"\S+?(?=[\s$])|\s+|.", Text),
        ]
    }

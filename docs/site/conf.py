"""The site: `make docs` builds it from the Markdown pages of the checkout, as they stand on a forge."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lammps_lexer import LammpsLexer

from hesspot.version import __version__

project, author, release = "hesspot", "The hesspot developers", __version__
copyright = "2026, the hesspot developers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx_copybutton"]

# The source is the checkout, so that pages may link to what lies beside docs/.
root_doc = "docs/index"
include_patterns = ["*.md", "docs/**.md", "examples/**.md", "benchmarks/*.md"]
exclude_patterns = [".*", "build", "dist", "demo-out", "work-*", "hesspot", "ipi_driver", "lammps_plugin", "tests"]

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = True

default_role = "code"
highlight_language = "none"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
copybutton_exclude = ".linenos, .gp, .go"

html_theme = "furo"
html_title = f"hesspot {release}"
html_extra_path = ["extra"]
html_copy_source = False
html_show_sourcelink = False


def setup(app) -> None:
    app.add_lexer("lammps", LammpsLexer)

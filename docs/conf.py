"""Settings of the docs site: `make docs` builds it into build/docs, with no network and with every warning an error."""

project = "modelops"
author = "modelops"
copyright = "the modelops authors"
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["requirements.txt"]
html_theme = "furo"
html_title = "modelops"
html_copy_source = False
html_show_sphinx = False
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]
nitpicky = True

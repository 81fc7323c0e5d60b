"""`python3 -m tools COMMAND`: what the Makefile's targets run."""

from __future__ import annotations

import sys

from tools.commands import main

sys.exit(main(sys.argv[1:]))

"""From an empty machine to installed programs and a running stack.

Standard library only: `python3 -m tools` works before any virtual environment exists.
"""

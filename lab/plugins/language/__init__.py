"""A stand-in for pulumi-language-python, the host of programs written in Python."""

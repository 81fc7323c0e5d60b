"""Stand-ins for Pulumi's language host for Python and its command and kubernetes plugins.

For machines that cannot download the real ones; see the README beside this file.
"""

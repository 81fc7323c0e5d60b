"""Hosts, networks and container images for one machine that has nothing but package registries.

Plain Python on the standard library, run as root by `python3 -m lab`. It gives whatever asks an
ordinary machine with an address and sshd, and takes it away again without a trace.
"""

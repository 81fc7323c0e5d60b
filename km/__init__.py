"""Kubernetes as a framework of Apache Mesos: pods are tasks, nodes are executors."""

__version__ = "0.1.0"

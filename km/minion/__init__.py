"""A Kubernetes node inside a Mesos executor's container. Standard library only."""

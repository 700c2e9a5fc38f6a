"""supernode-operator: topology-contiguous cards for AI jobs on Kubernetes."""

__version__ = "0.1.0"

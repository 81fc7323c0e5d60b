"""All that knows Kubernetes' wire: requests, watches, leases. Nothing here decides."""

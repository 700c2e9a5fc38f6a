"""The resources of group `supernode.io`: models, names, reasons, and reading objects (`api.reading.parse`)."""

"""``python -m supernode.app`` is ``supernode-operator``."""

from supernode.app.main import main

main()

"""What each runtime's launcher reads: one module per runtime, each a `Launcher`."""

from collections.abc import Mapping

from supernode.api.trainingjob import Runtime
from supernode.workload.runtimes import jax, mindspore, mpi, plain, pytorch
from supernode.workload.runtimes.launcher import Launcher, Value

LAUNCHERS: Mapping[Runtime, Launcher] = {
    Runtime.PLAIN: plain.LAUNCHER,
    Runtime.PYTORCH: pytorch.LAUNCHER,
    Runtime.MINDSPORE: mindspore.LAUNCHER,
    Runtime.JAX: jax.LAUNCHER,
    Runtime.MPI: mpi.LAUNCHER,
}

__all__ = ["LAUNCHERS", "Launcher", "Value"]

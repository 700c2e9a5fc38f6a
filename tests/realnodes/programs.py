"""Programs that workers run, as users would write them; they are handed over as text, the image has only runtimes.

Each process prints one line, ``<kind> <number in the world> of <size> on worker <rank>: <result>``; with ``VARIABLES``,
what it was told.
"""

MPI = """
import socket
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(world.rank + 1)
worker = socket.gethostname().rpartition("-")[2]
line = f"mpi {world.rank} of {world.size} on worker {worker}: {total}"
for said in world.gather(line) or ():
    print(said, flush=True)
"""

VARIABLES = """
import json, os
told = ("SUPERNODE_", "OF_THE_", "PATH", "LD_LIBRARY_PATH")
print(json.dumps({name: value for name, value in os.environ.items() if name.startswith(told)}), flush=True)
"""

JAX = """
import os
import jax
jax.distributed.initialize(
    num_processes=int(os.environ["JAX_NUM_PROCESSES"]), process_id=int(os.environ["JAX_PROCESS_ID"])
)
from jax.experimental import multihost_utils
import jax.numpy as jnp
mine = jnp.array([jax.process_index() + 1.0])
everyones = multihost_utils.process_allgather(mine)
mesh, split = jax.make_mesh((jax.device_count(),), ("workers",)), jax.sharding.PartitionSpec("workers")
total = jax.jit(jnp.sum)(multihost_utils.host_local_array_to_global_array(mine, mesh, split))
assert float(everyones.sum()) == float(total), (everyones, total)
print(f"jax {jax.process_index()} of {jax.process_count()} on worker {os.environ['SUPERNODE_RANK']}: {float(total):g}")
"""

TORCH = """
import os, sys, time
import torch, torch.distributed as dist
dist.init_process_group("gloo")
rank, size, worker = dist.get_rank(), dist.get_world_size(), os.environ["SUPERNODE_RANK"]
for step in range(int(os.environ["STEPS"])):
    total = torch.tensor([rank + 1.0])
    dist.all_reduce(total)
    print(f"torch step {step}", flush=True)
    time.sleep(0.2)
print(f"torch {rank} of {size} on worker {worker}: {total.item():g}", flush=True)
dist.destroy_process_group()
"""

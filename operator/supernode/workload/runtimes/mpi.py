"""MPI: rank 0 runs the user's command (`mpirun ...`), the other workers an ssh daemon by which it reaches them.

The host files list the workers in placement order with one slot per card, so that consecutive ranks are neighbours in
the fabric. Open MPI 4 and 5 and MPICH find host file and ssh options in their own variables; mpirun needs no option but
the command. Intel MPI finds the ssh options; its host file must have the name by which its own host knows itself.
The image brings the MPI, `ssh` and `sshd`. Key and configuration are the job's own: no host is reached that is not a
worker of it. The daemon listens above 1024, so that it needs no root. Its sessions begin with the variables of its
container, as if that had started the process itself.
"""

from supernode.workload.files import GroupFiles
from supernode.workload.layout import GROUP_DIRECTORY, SSH_DIRECTORY, SSH_ENVIRONMENT
from supernode.workload.placed import PlacedGroup
from supernode.workload.runtimes.launcher import Launcher

SSH_PORT = 2222

# ssh tries again where it cannot connect, but not where it finds no name; a name comes a moment after its pod runs.
_AWAIT_NAME = "n=0; while getent hosts %h >/dev/null; [ $? = 2 ] && [ $n -lt 60 ]; do n=$((n+1)); sleep 1; done"

_CLIENT = f"""Match exec "{_AWAIT_NAME}"
Host *
  Port {SSH_PORT}
  IdentityFile {SSH_DIRECTORY}/id_ed25519
  IdentitiesOnly yes
  BatchMode yes
  StrictHostKeyChecking no
  UserKnownHostsFile /dev/null
  ConnectTimeout 10
  ConnectionAttempts 60
  LogLevel ERROR
"""
# The host key of every worker is the one that the Secret holds and that only these workers have; names of pods come
# and go, so a list of known hosts would say nothing more.

_DAEMON = f"""Port {SSH_PORT}
HostKey {SSH_DIRECTORY}/id_ed25519
AuthorizedKeysFile {SSH_DIRECTORY}/authorized_keys
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
PidFile none
ForceCommand . {SSH_ENVIRONMENT}; eval "$SSH_ORIGINAL_COMMAND"
"""

_RUN_DAEMON = (
    # A session begins elsewhere, and where it is its shell knows itself.
    f"(umask 077; unset PWD OLDPWD; export -p > {SSH_ENVIRONMENT}); "
    f'exec "$(command -v sshd || echo /usr/sbin/sshd)" -De -f {GROUP_DIRECTORY}/sshd_config'
)


def _environment(_group: PlacedGroup, _rank: int, files: GroupFiles) -> dict[str, str]:
    ssh, hosts = f"-F {files.path('ssh_config')}", files.path("hostfile")
    return {
        "OMPI_MCA_orte_default_hostfile": hosts,
        "OMPI_MCA_orte_keep_fqdn_hostnames": "true",
        "OMPI_MCA_plm_rsh_args": ssh,
        "PRTE_MCA_prte_default_hostfile": hosts,
        "PRTE_MCA_prte_keep_fqdn_hostnames": "true",
        "PRTE_MCA_plm_ssh_args": ssh,
        "HYDRA_HOST_FILE": files.path("hostfile.hydra"),
        "HYDRA_LAUNCHER_EXTRA_ARGS": ssh,
        # Or else it gives all processes the variables of rank 0.
        "HYDRA_ENV": "none",
        "I_MPI_HYDRA_BOOTSTRAP": "ssh",
        "I_MPI_HYDRA_BOOTSTRAP_EXEC_EXTRA_ARGS": ssh,
    }


def _files(group: PlacedGroup) -> dict[str, str]:
    hosts = [group.address(rank) for rank in range(len(group.members))]
    slots = group.cards_per_member
    return {
        "hostfile": "".join(f"{host} slots={slots}\n" for host in hosts),
        "hostfile.hydra": "".join(f"{host}:{slots}\n" for host in hosts),
        "ssh_config": _CLIENT,
        "sshd_config": _DAEMON,
    }


def _command(rank: int) -> list[str] | None:
    return ["sh", "-c", _RUN_DAEMON] if rank else None


LAUNCHER = Launcher(_environment, files=_files, command=_command, ssh=True, first_decides=True)

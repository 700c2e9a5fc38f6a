"""The entry point ``supernode-operator``."""

import asyncio
import logging
import os
import signal
import sys

from supernode.api.errors import SupernodeError
from supernode.app.settings import Settings, parse_settings


def main() -> None:
    """Run the operator with the settings of the command line; exit status 1 when it could not start or failed."""
    # The first process of a container gets no signal that it does not handle. Nothing has to be cleaned up until kopf
    # handles this one.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    settings = parse_settings()
    _set_up_logging(settings)
    from supernode.app.shell import Shell  # after the arguments: --help answers without loading kopf

    async def serve() -> None:
        await Shell(settings).run()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        sys.exit(130)
    except (SupernodeError, OSError) as problem:
        logging.getLogger(__name__).critical("cannot run: %s", problem)
        sys.exit(1)
    except BaseException:
        logging.getLogger(__name__).critical("ended by an unforeseen error", exc_info=True)
        sys.exit(1)


def _set_up_logging(settings: Settings) -> None:
    handler = logging.StreamHandler()
    if settings.log_format == "json":
        from pythonjsonlogger.core import RESERVED_ATTRS
        from pythonjsonlogger.json import JsonFormatter

        # kopf hangs its settings and flags on its records; they are no message and cannot be encoded.
        reserved = [*RESERVED_ATTRS, "settings", "k8s_skip", "k8s_ref"]
        handler.setFormatter(
            JsonFormatter(
                "%(levelname)s %(name)s %(message)s",
                timestamp=True,  # RFC 3339, in UTC
                rename_fields={"levelname": "level"},
                reserved_attrs=reserved,
            )
        )
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # else a line for each event of each job

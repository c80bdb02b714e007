"""`manage.py dispatch_webhooks`: sends the webhooks' deliveries until SIGTERM."""

import asyncio
import signal
import sys
from typing import Any

from django.core.management import BaseCommand

from webhooks.dispatcher import Dispatcher


class Command(BaseCommand):
    help = "Send webhook deliveries until SIGTERM or Ctrl-C. Several may run: each delivery is claimed by one."

    def handle(self, **_: Any) -> None:
        asyncio.run(run())


async def run() -> None:
    # The loop gets its turn from the database's thread ten times as often as Python would give it.
    sys.setswitchinterval(0.0005)
    dispatcher = Dispatcher()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, dispatcher.stop)
    await dispatcher.run()

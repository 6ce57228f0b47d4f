"""The console: pages in a browser for the people who run an index. They see whether it is well, and they act.

``build_console(app, index)`` adds everything below ``/console`` to an application of :mod:`regen.server`. Pages are
made on the server and work without scripts; one small script adds keys and lets pages follow what happens.
"""

from __future__ import annotations

from regen.server.console.site import build_console

__all__ = ["build_console"]

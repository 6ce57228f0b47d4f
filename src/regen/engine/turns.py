"""One turn of an actor: ranges of one generation, for some seconds."""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from regen.core.results import SyncResult
from regen.core.working import WorkResult
from regen.engine.allocations import fewer_collections
from regen.engine.control import Paused
from regen.engine.lease import new_owner
from regen.engine.sharing import WAIT_SECONDS, Claimant
from regen.engine.writing import WriteSide
from regen.errors import LeaseLost


def take_turn(writer: WriteSide, number: int, upto: int, seconds: float) -> WorkResult:
    """Claim ranges for so long, and say what that came to. What it cost is on the account when it returns."""
    done, stop, began = WorkResult(), threading.Event(), time.monotonic()
    claimant = Claimant(writer, new_owner(), stop)
    with writer.recorded("fill", always=False) as (result, account), fewer_collections():
        generation = next((item for item in writer.current() if item.number == number), None)
        if generation is None:  # given up meanwhile
            return done
        shared = generation.state == "building"
        if shared:
            account.counts_earlier(generation)
        spent = account.open(generation, writer.price(generation), shared=shared)
        while time.monotonic() - began < seconds:
            held = claimant.claim(generation, upto)
            if held is None:
                if writer.fresh(generation).watermark >= upto:
                    break
                time.sleep(WAIT_SECONDS)
                continue
            with suppress(LeaseLost, Paused):
                done.documents += claimant.bring(generation, held, spent, result)
                done.ranges += 1
        account.add_to(result)
    _tell(done, result, time.monotonic() - began)
    return done


def _tell(done: WorkResult, result: SyncResult, seconds: float) -> None:
    done.failed, done.chunks = result.documents.failed, result.chunks
    done.embedded_texts, done.tokens, done.cost_usd = result.embedded_texts, result.tokens, result.cost_usd
    done.seconds, done.notes = seconds, result.notes

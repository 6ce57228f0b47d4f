"""What goes wrong in LanceDB: which failures pass by themselves, and what the others are called in regen."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import pyarrow as pa
import stamina

from regen.errors import CollectionMissing, StoreError, StoreUnreachable

T = TypeVar("T")

_CONFLICT: Final = re.compile(r"conflict|concurrent writers|contention|Column .* already exists", re.IGNORECASE)
_GONE: Final = re.compile(r"was not found|Not found: .*/_versions", re.IGNORECASE)
_FULL: Final = re.compile(r"No space left|StorageFull|os error 28|quota exceeded|os error 122", re.IGNORECASE)
_DENIED: Final = re.compile(r"Permission denied|Read-only file system|os error 13|os error 30", re.IGNORECASE)
_NO_FOLDER: Final = re.compile(r"File exists|Not a directory|os error 17|os error 20", re.IGNORECASE)
_REFUSED: Final = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|AccessDenied|ExpiredToken|status(?: code)?: 40[13]"
    r"|Failed to get AWS credentials|TokenRequest|no storage account configured"
)
_NO_BUCKET: Final = re.compile(r"NoSuchBucket|ContainerNotFound|The specified bucket does not exist")
_AWAY: Final = re.compile(r"RetryError|after \d+ retries|error sending request|dns error|SlowDown")
_ANSWER: Final = re.compile(r"<Code>(\w+)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_CAUSE: Final = re.compile(r'(?:message|body): (?:Some\()?"([^"]+)"')
_ATTEMPTS: Final = 12
_PATIENCE_SECONDS: Final = 60.0


def retried(commit: Callable[[], T]) -> T:
    """Run a commit again while other writers' commits make it conflict, at most 12 times within a minute."""
    for attempt in stamina.retry_context(
        on=_conflicts, attempts=_ATTEMPTS, timeout=_PATIENCE_SECONDS, wait_initial=0.02, wait_max=2.0, wait_jitter=0.05
    ):
        with attempt:
            return commit()
    raise AssertionError("stamina either returns or raises")


def _conflicts(error: Exception) -> bool:
    return isinstance(error, RuntimeError | OSError | ValueError) and _CONFLICT.search(str(error)) is not None


def is_missing(error: Exception) -> bool:
    """Whether it says that a table is not there, and not that this could not be found out."""
    return _GONE.search(str(error)) is not None


@contextmanager
def named(collection: str, where: str) -> Iterator[None]:
    """Turn what LanceDB raises into StoreError or CollectionMissing."""
    try:
        yield
    except (RuntimeError, ValueError, OSError, pa.ArrowException) as error:
        raise _translated(error, collection, where) from error


def _translated(error: Exception, collection: str, where: str) -> StoreError:
    text = str(error)
    if "://" in where and not where.startswith("lancedb://"):
        remote = _of_bucket(text, collection, where)
        if remote is not None:
            return remote
    if is_missing(error):
        return CollectionMissing(
            f"there is no collection {collection!r} in {where}",
            hint="it was dropped, or the store was emptied or moved; `regen verify --repair` writes it again",
        )
    if _FULL.search(text):
        return StoreError(
            f"the disk of {where} is full; nothing acknowledged in collection {collection!r} is lost",
            hint="free some space and run again; `regen gc` removes old versions",
        )
    if isinstance(error, FileNotFoundError) or _NO_FOLDER.search(text):
        return StoreError(
            f"{where} is no folder, and none can be made there: {text}",
            hint="a file or a dangling link lies there, or the path is another machine's; name a folder in store.url",
        )
    if _DENIED.search(text):
        return StoreError(
            f"{where} cannot be written (collection {collection!r}): {text}",
            hint="the folder of store.url must be writable by this user",
        )
    if _CONFLICT.search(text):
        return StoreError(
            f"another writer kept changing collection {collection!r} in {where}: {text}",
            hint="nothing is lost; run again when the other writer is done",
        )
    return StoreError(f"LanceDB failed on collection {collection!r} in {where}: {text}")


def _of_bucket(text: str, collection: str, where: str) -> StoreError | None:
    """What an object store said, in short: the engine's own words show whole requests and answers."""
    answer, cause = _ANSWER.search(text), _CAUSE.search(text)
    told = ": ".join(answer.groups()) if answer else cause[1] if cause else text[:200]
    if _NO_BUCKET.search(text):
        return StoreError(f"there is no bucket for {where}: {told}", hint="make it first; regen makes none")
    if _REFUSED.search(text):
        return StoreError(
            f"the object store refuses the credentials for {where}: {told}",
            hint="they are read from the environment (AWS_ACCESS_KEY_ID and so on) or of the machine's role; they "
            "must be allowed to list, read, write and delete there, and the region (?region=NAME) must be the bucket's",
        )
    if _AWAY.search(text):
        return StoreUnreachable(
            f"the object store of {where} cannot be reached (collection {collection!r}): {told}",
            hint="check ?endpoint= and ?region= of store.url and the network; nothing acknowledged is lost",
        )
    return None

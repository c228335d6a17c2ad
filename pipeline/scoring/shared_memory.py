"""Clips in memory that this process shares with the Triton server, where both run on one machine.

Over gRPC the pixels of a clip (2.4 MB for 16 × 224 × 224) are copied into a message, through the kernel, and out of the
message. In shared memory they are copied once, into a slot of a *segment*: a file in ``/dev/shm`` that the server maps
when the segment is registered with it. A request then names the segment and the slot's offset.

**Same machine.** The way is tried where the address is one of this machine's own, and proven by trying: the segment's
name is random, so a server can register it only where it sees the same ``/dev/shm`` and may open the file, which its
owner alone may. A server behind a tunnel, in a container or of another user refuses, and clips go by gRPC.

**Slots.** A slot is written again only when the server has answered its request. A request that ended without an answer
(a missed deadline, a lost connection) may still be read by the server, so its slot is lost. A segment without a free
slot that has lost some is retired as a whole, and another one is registered. A clip never waits for a slot: it goes by
gRPC.

**Leaks.** Each segment's file is locked while its process lives, so that the next process finds and deletes the files
of dead ones. It also unregisters, at the server, each segment whose file is gone, a minute after it has seen that.
Triton 2.51 unmaps a segment at once although requests that their client has given up still wait to read it, and dies of
that (SIGSEGV). A segment whose requests all have their answers is unregistered when its connection is closed.

**Restarts.** A restarted server knows no segment: its first refusal retires ours, the clip is sent by gRPC, and its
answer has the next segment registered.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import secrets
import socket
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tritonclient.grpc as triton

from pipeline import logs

#: The place of POSIX shared memory on Linux: a region named ``/x`` is the file ``x`` there.
FOLDER = Path("/dev/shm")  # noqa: S108 - names are random, and files are created without ever following one
_PREFIX = "mistwatch_clips_"
_NAME = re.compile(_PREFIX + r"[0-9a-f]{32}")
#: Limit of a question about segments, which costs a healthy server milliseconds.
_ASK_SECONDS = 2.0
#: The same while the connection is closed, where the next process would tidy up as well.
_LAST_ASK_SECONDS = 0.5
#: After a refusal the next segment is tried this much later: a full ``/dev/shm`` may be emptied.
RETRY_SECONDS = 60.0
#: A server that answers has computed every request of before within this time: far above the deadline of a clip.
GRACE_SECONDS = 60.0
#: In that time the server is asked so many times, as it must not be frozen meanwhile.
_LOOKS = 6
#: Largest segment: ``max_in_flight`` may be 256, whose clips would take 616 MB.
_MOST_BYTES = 128_000_000
#: A page of memory and more: slots begin at such offsets.
_ALIGNMENT = 4096

_log = logs.get("scoring")


class Segment:
    """A file of equal slots in shared memory, mapped into this process.

    Args:
        slot_bytes: size of an array that a slot must hold.
        slots: number of them.
        folder: where the file is created; of shared memory, except in tests.

    Raises:
        OSError: no room, or not permitted. Nothing is left behind.

    Attributes:
        name: of the file, and of the segment at the server.
    """

    def __init__(self, slot_bytes: int, slots: int, folder: Path = FOLDER) -> None:
        self.name = _PREFIX + secrets.token_hex(16)
        self._slot_bytes = -(-slot_bytes // _ALIGNMENT) * _ALIGNMENT
        self.nbytes = slots * self._slot_bytes
        self._folder = folder
        self._free = list(range(slots))
        self._slots = slots
        self.lost = 0  #: slots whose request ended without an answer
        # Without a name at first: no other process sees the file before it is locked and has its memory.
        file = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            # Else the first write into a full /dev/shm would kill this process (SIGBUS).
            os.posix_fallocate(file, 0, self.nbytes)
            memory = mmap.mmap(file, self.nbytes)  # has the file open, and thereby locked, for as long as it lives
            at = os.open(folder, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.link(f"/proc/self/fd/{file}", self.name, dst_dir_fd=at)
            finally:
                os.close(at)
        finally:
            os.close(file)
        self._memory = np.frombuffer(memory, np.uint8)

    @property
    def is_idle(self) -> bool:
        """Return whether the server has answered every request, and so reads nothing of it."""
        return len(self._free) == self._slots

    @property
    def has_free(self) -> bool:
        """Return whether :meth:`take` will succeed."""
        return bool(self._free)

    def take(self) -> int:
        """Return the offset of a free slot, which is taken from now on. Raises IndexError: none is free."""
        return self._free.pop() * self._slot_bytes

    def give_back(self, offset: int) -> None:
        """Free a slot: the server will not read it again."""
        self._free.append(offset // self._slot_bytes)

    def write(self, offset: int, values: npt.NDArray[np.uint8]) -> None:
        """Copy an array to the beginning of a slot."""
        place = self._memory[offset : offset + values.nbytes].reshape(values.shape)
        np.copyto(place, values)

    def unlink(self) -> None:
        """Delete the file's name; the memory lives on where it is mapped."""
        (self._folder / self.name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Slot:
    """A clip's place in shared memory."""

    segment: Segment
    offset: int
    nbytes: int

    def tensor(self, name: str, shape: tuple[int, ...]) -> Any:
        """Return the input of a request for a single clip of this shape that lies in the slot."""
        tensor = triton.InferInput(name, (1, *shape), "UINT8")
        return tensor.set_shared_memory(self.segment.name, self.nbytes, self.offset)


class SharedMemory:
    """The segments of one connection, one for each size of clip. Thread-safe.

    Nothing here waits for the server, except a thread of its own that starts with the first answer.

    Args:
        client: the connection; its owner closes it after :meth:`close`.
        address: of the server, HOST:PORT or ``unix:PATH``.
        slots: of each segment, fewer where it would be larger than 128 MB: the clips that may be in flight.
        create: makes a segment of this slot size and number; raises OSError.
        retry_seconds, grace_seconds: see ``RETRY_SECONDS``, ``GRACE_SECONDS``.
    """

    def __init__(
        self,
        client: triton.InferenceServerClient,
        address: str,
        *,
        slots: int,
        create: Callable[[int, int], Segment] = Segment,
        folder: Path = FOLDER,
        retry_seconds: float = RETRY_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
    ) -> None:
        self._client = client
        self._address = address
        self._slots = slots
        self._create = create
        self._folder = folder
        self._retry_seconds = retry_seconds
        self._grace_seconds = grace_seconds
        self._segments: dict[int, Segment] = {}  # by the size of a clip
        self._wanted: set[int] = set()  # sizes without a segment
        self._changed = threading.Condition()  # guards all of this
        self._try_at = 0.0  # monotonic time before which no segment is tried
        self._heard = False  # the server has answered: it is worth trying
        self._tidy_at: float | None = None  # monotonic; the server may have segments without a file
        self._gone: dict[str, float] = {}  # those, and the monotonic time when each was first seen
        self._proven = False  # the server sees our /dev/shm
        self._closed = False
        self._said = ""  # as logged
        self._has_overflowed = False
        self._thread: threading.Thread | None = None

    @property
    def is_used(self) -> bool:
        """Return whether clips go through shared memory at present."""
        return bool(self._segments)

    def place(self, values: npt.NDArray[np.uint8]) -> Slot | None:
        """Copy a clip into a free slot; None where it is to go by gRPC. The caller ends it with :meth:`settle`."""
        with self._changed:
            segment = self._segments.get(values.nbytes)
            if segment is None:
                self._wanted.add(values.nbytes)
                return None
            if not segment.has_free:
                if segment.lost:
                    self._retire(values.nbytes)
                elif not self._has_overflowed:
                    self._has_overflowed = True
                    _log.info("all slots of shared memory are taken; further clips go by gRPC", address=self._address)
                return None
            slot = Slot(segment, segment.take(), values.nbytes)
        segment.write(slot.offset, values)
        return slot

    def settle(self, slot: Slot | None, *, answered: bool) -> None:
        """Record the end of a clip's request.

        Args:
            slot: of the clip; None where it went by gRPC.
            answered: the server has answered, with an error too, and so will not read the clip again.
        """
        with self._changed:
            if slot is not None and answered:
                slot.segment.give_back(slot.offset)
            elif slot is not None:
                slot.segment.lost += 1
            if answered and self._wanted and not self._closed:
                self._heard = True
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="shared-memory", daemon=True)
                    self._thread.start()
                self._changed.notify_all()

    def is_unknown(self, slot: Slot | None, error: Exception) -> bool:
        """Return whether the server refused the slot's segment, which is then retired: send the clip by gRPC."""
        if slot is None or slot.segment.name not in str(error):
            return False
        with self._changed:
            if self._segments.get(slot.nbytes) is slot.segment:
                self._retire(slot.nbytes)
        return True

    def close(self) -> None:
        """Delete all segments, and unregister the idle ones at the server, which is given a moment for that."""
        with self._changed:
            self._closed = True
            idle = [segment for segment in self._segments.values() if segment.is_idle]
            for size in list(self._segments):
                self._retire(size)
            self._changed.notify_all()
        for segment in idle:
            try:
                self._client.unregister_system_shared_memory(segment.name, client_timeout=_LAST_ASK_SECONDS)
            except Exception:  # the server is away or frozen: the next process tidies up
                break
        if self._thread is not None:
            self._thread.join(_LAST_ASK_SECONDS)

    def _retire(self, size: int) -> None:
        """Send no further clip through a segment; requests under way keep it."""
        self._segments.pop(size).unlink()
        self._wanted.add(size)
        self._heard = False
        self._tidy_after(0.0)

    # -- the thread that registers and unregisters -------------------------------------------------------------

    def _run(self) -> None:
        is_here = False
        while (size := self._next_size()) is not None:
            if size and not is_here:
                try:
                    is_here = is_own(self._address)
                except OSError as error:
                    self._refuse(f"the server's name cannot be resolved ({error.strerror or error})")
                    continue
                if not is_here:
                    self._say("gRPC", "the server is on another machine")
                    return
            if size:
                self._open(size)
            elif not self._tidy():
                self._tidy_after(self._grace_seconds / _LOOKS)

    def _next_size(self) -> int | None:
        """Wait until a segment is to be opened, and return its size of clip; 0 to tidy up; None at the end."""
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                is_wanted = bool(self._wanted) and self._heard
                if is_wanted and now >= self._try_at:
                    return next(iter(self._wanted))
                if self._tidy_at is not None and now >= self._tidy_at:
                    self._tidy_at = None
                    return 0
                times = [self._try_at] if is_wanted else []
                times += [] if self._tidy_at is None else [self._tidy_at]
                self._changed.wait(min(times) - now if times else None)
        return None

    def _tidy_after(self, seconds: float) -> None:
        with self._changed:
            if self._proven:
                at = time.monotonic() + seconds
                self._tidy_at = at if self._tidy_at is None else min(at, self._tidy_at)
                self._changed.notify_all()

    def _open(self, size: int) -> None:
        """Create a segment and register it; on a refusal clips go by gRPC for a while."""
        remove_dead(self._folder)  # first: it may make the room that is needed
        slots = max(min(self._slots, _MOST_BYTES // size), 1)
        try:
            segment = self._create(size, slots)
        except OSError as error:
            self._refuse(_no_segment(error, size * slots, self._folder), is_trouble=True)
            return
        try:
            self._client.register_system_shared_memory(
                segment.name, f"/{segment.name}", segment.nbytes, client_timeout=_ASK_SECONDS
            )
        except Exception as error:  # tritonclient's own; a closed channel a ValueError
            segment.unlink()
            self._tidy_after(0.0)  # the server may have registered it without an answer in time
            # Triton quotes the name, which is another one at each try: the log is to have one line of a cause.
            words = " ".join(str(error).replace(segment.name, _PREFIX + "...").split())
            self._refuse(f"the server does not take this machine's shared memory ({words})")
            return
        with self._changed:
            self._wanted.discard(size)
            self._proven = True
            self._tidy_after(0.0)
            if self._closed:
                segment.unlink()
                return
            self._segments[size] = segment
        self._say("shared memory", "the server runs on this machine")

    def _refuse(self, reason: str, *, is_trouble: bool = False) -> None:
        with self._changed:
            self._try_at = time.monotonic() + self._retry_seconds
            if self._closed:
                return
        self._say("gRPC", reason, is_trouble=is_trouble)

    def _tidy(self) -> bool:
        """Unregister the segments whose files are gone for long enough; return whether none of them is left.

        The server sees our ``/dev/shm``, so a file that is not there was retired, or its process has died.
        """
        remove_dead(self._folder)
        try:
            status = self._client.get_system_shared_memory_status(client_timeout=_ASK_SECONDS)
            gone = [name for name in status.regions if _NAME.fullmatch(name) and not (self._folder / name).exists()]
            now = time.monotonic()
            self._gone = {name: self._gone.get(name, now) for name in gone}
            for name in gone:
                if now - self._gone[name] >= self._grace_seconds:
                    self._client.unregister_system_shared_memory(name, client_timeout=_ASK_SECONDS)
                    del self._gone[name]
        except Exception:  # the server is away or frozen, and then needs the time anew; or it still reads the segment
            self._gone.clear()
            return False
        return not self._gone

    def _say(self, way: str, reason: str, *, is_trouble: bool = False) -> None:
        if (said := f"{way}: {reason}") != self._said:
            self._said = said
            log = _log.warning if is_trouble else _log.info
            log("clips go to Triton", transport=way, address=self._address, reason=reason)


def remove_dead(folder: Path = FOLDER) -> None:
    """Delete the segments' files of dead processes of this user."""
    try:
        at = os.open(folder, os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for name in filter(_NAME.fullmatch, os.listdir(at)):  # noqa: PTH208 - of the open folder
            try:
                file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=at)
            except OSError:  # gone meanwhile, or another user's
                continue
            try:
                about = os.fstat(file)
                if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its process lives
                    os.unlink(name, dir_fd=at)
            except OSError:
                continue
            finally:
                os.close(file)
    finally:
        os.close(at)


def is_own(address: str) -> bool:
    """Return whether ``HOST:PORT`` or ``unix:PATH`` is an address of this machine; asks the resolver for a name.

    Raises:
        OSError: the name cannot be resolved now.
    """
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except UnicodeError:  # no host can have such a name
        return False
    for family, kind, protocol, _, place in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.bind(place)  # succeeds for an address of one of this machine's interfaces alone
        except OSError:
            continue
        return True
    return False


def _no_segment(error: OSError, nbytes: int, folder: Path) -> str:
    """Return the reason why a segment cannot be created, and the cure."""
    if error.errno in (errno.ENOSPC, errno.EFBIG, errno.ENOMEM, errno.EDQUOT):
        return f"{folder} is full ({error.strerror}); clips in flight need {nbytes / 1e6:.1f} MB there: make it larger"
    return f"{folder} cannot be used ({error.strerror})"

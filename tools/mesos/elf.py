"""Make a library that was linked on Ubuntu 16.04 loadable on a current Linux.

What is edited, in the dynamic section only:

* NEEDED libssl 1.0.0 is dropped and libcrypto 1.0.0 becomes libcrypto.so.3 (HMAC and SHA256 are
  still the same functions there);
* the version requirements on libssl, libcrypto and libcurl are dropped;
* OpenSSL's and Python 2's symbols become weak: an absent one is a null pointer instead of a
  refusal to load. Nothing calls them without TLS or Python.

Names are those of elf(5); numbers are offsets into the file unless called addresses.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB, DT_SYMTAB = 0, 1, 5, 6
DT_VERSYM, DT_VERNEED, DT_VERNEEDNUM = 0x6FFFFFF0, 0x6FFFFFFE, 0x6FFFFFFF
SHT_GNU_VERNEED = DT_VERNEED  # the same number, of a section
STB_GLOBAL, STB_WEAK = 1, 2
SYMBOL_SIZE, SECTION_SIZE, SEGMENT_SIZE, DYNAMIC_SIZE = 24, 64, 56, 16
VERSION_GLOBAL = 1
VERSION_MASK = 0x7FFF

DROPPED = b"libssl.so.1.0.0"
RENAMED = {b"libcrypto.so.1.0.0": b"libcrypto.so.3"}
OLD_LIBRARIES = (DROPPED, *RENAMED, b"libcurl.so.4")
FOREIGN = (b"Py", b"_Py")
KEPT_STRONG = b"curl_"


@dataclass
class Library:
    """A 64-bit little-endian shared object, edited in place."""

    data: bytearray
    entries: list[tuple[int, int]] = field(init=False)
    """The dynamic section: (tag, value), without the closing DT_NULL."""

    def __post_init__(self) -> None:
        segments = [self._segment(i) for i in range(self.u16(56))]
        self._loads = [s[1:] for s in segments if s[0] == PT_LOAD]
        self._dynamic = next(s[1] for s in segments if s[0] == PT_DYNAMIC)
        self.entries = list(self._read_dynamic())
        self.tags = dict(self.entries)
        self.strings = self.offset(self.tags[DT_STRTAB])
        self.symbols = self.offset(self.tags[DT_SYMTAB])
        self.versions = self.offset(self.tags[DT_VERSYM])

    def u16(self, at: int) -> int:
        return int(struct.unpack_from("<H", self.data, at)[0])

    def u32(self, at: int) -> int:
        return int(struct.unpack_from("<I", self.data, at)[0])

    def u64(self, at: int) -> int:
        return int(struct.unpack_from("<Q", self.data, at)[0])

    def offset(self, address: int) -> int:
        """Where in the file the byte lies that is loaded at an address."""
        return next(
            address - start + at for at, start, size in self._loads if 0 <= address - start < size
        )

    def name(self, index: int) -> bytes:
        """A string of the dynamic string table."""
        start = self.strings + index
        return bytes(self.data[start : self.data.index(b"\0", start)])

    def _segment(self, index: int) -> tuple[int, int, int, int]:
        """(type, offset, address, size) of a program header."""
        at = self.u64(32) + SEGMENT_SIZE * index
        return self.u32(at), self.u64(at + 8), self.u64(at + 16), self.u64(at + 32)

    def _read_dynamic(self) -> Iterator[tuple[int, int]]:
        at = self._dynamic
        while self.u64(at) != DT_NULL:
            yield self.u64(at), self.u64(at + 8)
            at += DYNAMIC_SIZE

    def write_dynamic(self, entries: list[tuple[int, int]]) -> None:
        """Replace the dynamic section by one of at most the same length."""
        padding = [(DT_NULL, 0)] * (len(self.entries) - len(entries))
        for i, entry in enumerate([*entries, *padding]):
            struct.pack_into("<QQ", self.data, self._dynamic + DYNAMIC_SIZE * i, *entry)


@dataclass(frozen=True, kw_only=True)
class Changes:
    """What `modernise` did, for the log and for tests."""

    requirements_kept: int
    versions_dropped: int
    symbols_weakened: int


def modernise(data: bytes) -> tuple[bytes, Changes]:
    """The library as a current dynamic linker accepts it."""
    library = Library(bytearray(data))
    dropped, kept = _unlink_requirements(library)
    _set_section_count(library, kept)
    library.write_dynamic(_needed(library, kept))
    weakened = _forget_versions(library, dropped)
    changes = Changes(
        requirements_kept=kept, versions_dropped=len(dropped), symbols_weakened=weakened
    )
    return bytes(library.data), changes


def _unlink_requirements(library: Library) -> tuple[set[int], int]:
    """Take the old libraries out of the list of required versions.

    Gives the version numbers that nothing defines any more, and how many libraries are left.
    """
    dropped: set[int] = set()
    kept = 0
    previous: int | None = None
    at = library.offset(library.tags[DT_VERNEED])
    while True:
        count, auxiliary, step = (
            library.u16(at + 2),
            at + library.u32(at + 8),
            library.u32(at + 12),
        )
        if library.name(library.u32(at + 4)) in OLD_LIBRARIES:
            for _ in range(count):
                dropped.add(library.u16(auxiliary + 6))
                auxiliary += library.u32(auxiliary + 12)
            if previous is None:
                raise ValueError("the first required library is an old one: no list to unlink from")
            struct.pack_into("<I", library.data, previous + 12, at + step - previous if step else 0)
        else:
            previous, kept = at, kept + 1
        if not step:
            return dropped, kept
        at += step


def _set_section_count(library: Library, kept: int) -> None:
    """The link editor reads the number of required libraries from the section header."""
    table, count = library.u64(40), library.u16(60)
    for i in range(count):
        section = table + SECTION_SIZE * i
        if library.u32(section + 4) == SHT_GNU_VERNEED:
            struct.pack_into("<I", library.data, section + 44, kept)


def _needed(library: Library, kept: int) -> list[tuple[int, int]]:
    """The dynamic section without libssl, with today's libcrypto and the new count."""
    entries = []
    for tag, value in library.entries:
        name = library.name(value) if tag == DT_NEEDED else b""
        if name == DROPPED:
            continue
        if name in RENAMED:
            start = library.strings + value
            library.data[start : start + len(name)] = RENAMED[name].ljust(len(name), b"\0")
        entries.append((tag, kept if tag == DT_VERNEEDNUM else value))
    return entries


def _forget_versions(library: Library, dropped: set[int]) -> int:
    """Undefined symbols: forget dropped versions, make foreign ones weak. Gives how many."""
    weakened = 0
    # The string table follows the symbols; nothing else tells how many of them there are.
    size = library.tags[DT_STRTAB] - library.tags[DT_SYMTAB]
    required = library.offset(library.tags[DT_VERNEED])
    for i in range(min(size // SYMBOL_SIZE, (required - library.versions) // 2)):
        symbol, number = library.symbols + SYMBOL_SIZE * i, library.versions + 2 * i
        is_dropped = library.u16(number) & VERSION_MASK in dropped
        if is_dropped:
            struct.pack_into("<H", library.data, number, VERSION_GLOBAL)
        name = library.name(library.u32(symbol))
        info = library.data[symbol + 4]
        undefined = library.u16(symbol + 6) == 0 and info >> 4 == STB_GLOBAL
        if (
            undefined
            and (is_dropped or name.startswith(FOREIGN))
            and not name.startswith(KEPT_STRONG)
        ):
            library.data[symbol + 4] = STB_WEAK << 4 | info & 15
            weakened += 1
    return weakened

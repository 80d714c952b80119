"""The files: which there are, what is in them, and what a word is."""

import os
import re
import stat
import sysconfig
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

# A message carries this much of a file. It is counted in some 30 ms, in which its node does nothing else.
PIECE = 256 << 10  # bytes
WORD = re.compile(r"[^\W\d_]+")
SPACE = re.compile(rb"\s")


def standard_library() -> Path:
    """The folder of the running interpreter's standard library."""
    return Path(sysconfig.get_path("stdlib"))


def find_files(folder: Path) -> list[str]:
    """Every .py file below the folder; of the standard library not what was installed into it."""
    installed = {"site-packages", "dist-packages"} if folder == standard_library() else set()
    found: list[str] = []
    # A folder that cannot be listed goes with the files: reading it fails, so it is named like a file that does.
    for parent, folders, files in os.walk(folder, onerror=lambda error: found.append(str(error.filename))):
        folders[:] = set(folders) - installed
        found.extend(os.path.join(parent, file) for file in files if file.endswith(".py"))
    return sorted(found)


def read_files(paths: Iterable[str], skip: Callable[[str, str], None]) -> Iterator[tuple[str, bytes]]:
    """Path and content, one file at a time; `skip(path, reason)` is called for one that cannot be read."""
    for path in paths:
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise OSError(None, "not a regular file")  # a pipe would have us wait for ever
            content = Path(path).read_bytes()
        except OSError as error:
            skip(path, error.strerror or str(error))
        else:
            yield path, content


def cut(content: bytes) -> list[bytes]:
    """The content in pieces of some 256 KiB, cut between words."""
    cuts = [0]
    while space := SPACE.search(content, cuts[-1] + PIECE):
        cuts.append(space.start())
    return [content[start:end] for start, end in pairwise([*cuts, len(content)])]


def count_words(content: bytes) -> Counter[str]:
    """How often each word is in there; upper and lower case are one."""
    return Counter(WORD.findall(content.decode(errors="replace").casefold()))

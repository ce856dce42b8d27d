"""The command lines of the Python scripts: --help, lists, and one line for what is wrong.

A script reads its command line before it imports large modules, so that --help and a wrong word
are answered at once, and where these modules are not installed, too. A wrong word ends it with exit
code 2. A file that is not there, a module that is not installed and a Failure end it with 1, each
with one line on stderr.
"""

from __future__ import annotations  # make-malformed.py runs with older Pythons, too

import argparse
import difflib
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType


class Failure(Exception):
    """Ends a script: its text is the line that says why."""


def quoted(text: object) -> str:
    """In quotes, and on one line whatever is in it."""
    return '"' + "".join(c if c.isprintable() else "?" for c in str(text)) + '"'


def nearest(word: str, known: Sequence[str]) -> str:
    """The end of a message, where a word was likely meant to be one of the known ones."""
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.7)
    return f"; did you mean {near[0]}?" if near else ""


class Parser(argparse.ArgumentParser):
    """argparse without abbreviations, whose errors are one line."""

    def __init__(self, about: str, **more: object) -> None:
        super().__init__(
            description=about,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **more,
        )
        sys.excepthook = end

    def error(self, message: str) -> None:
        message = re.sub(r"^argument ", "", message)
        message = re.sub(
            r"invalid choice: '(.*)' \(choose from (.*)\)",
            lambda m: f"found {quoted(m[1])}, wanted one of {m[2].replace(chr(39), '')}",
            message,
        )
        message = message.replace("expected one argument", "found no value, wanted one")
        message = message.replace(
            "the following arguments are required:", "found too few words, wanted"
        )
        self.exit(2, f"{self.prog}: {message}; --help says more\n")

    def parse_args(self, args: Sequence[str] | None = None, namespace: object = None) -> object:
        self.check_options(sys.argv[1:] if args is None else args)
        found, extra = self.parse_known_args(args, namespace)
        if extra:
            self.refuse(extra[0])
        return found

    def check_options(self, words: Sequence[str]) -> None:
        """An unknown option before anything else: argparse may complain of its value first."""
        if any(a.nargs in (argparse.REMAINDER, argparse.PARSER) for a in self._actions):
            return
        for word in words:
            if word == "--":
                return
            if word.startswith("--") and word.partition("=")[0] not in self._option_string_actions:
                self.refuse(word)

    def refuse(self, word: str) -> None:
        wanted = " ".join(self.format_usage().split()[2:]).removeprefix("[-h]").strip()
        near = nearest(word.partition("=")[0], list(self._option_string_actions))
        self.error(f"found {quoted(word)}, wanted {wanted or 'no words'}{near}")


def end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """sys.excepthook: what is no fault of the script is one line; all else keeps its traceback."""
    if isinstance(error, Failure):
        said = str(error)
    elif isinstance(error, ModuleNotFoundError):
        said = (
            f"the Python module {error.name} is not installed; scripts/setup-venv prints the path "
            "of an environment that has it, whose bin/python is to run this script"
        )
    elif isinstance(error, OSError) and error.filename is not None:
        said = f"{quoted(error.filename)}: {error.strerror}"
    elif isinstance(error, KeyboardInterrupt):
        said = "interrupted"
    else:
        sys.__excepthook__(kind, error, trace)
        return
    print(f"{Path(sys.argv[0]).name}: {said}", file=sys.stderr)


# ---- values --------------------------------------------------------------------------------------
# Each is a `type` of add_argument().


def split(text: str) -> list[str]:
    """The items of a list, between which commas, spaces or both may stand."""
    return text.replace(",", " ").split()


def list_of(*known: str) -> Callable[[str], list[str]]:
    """A list of known words; a word that is given twice counts once."""

    def read(text: str) -> list[str]:
        items = list(dict.fromkeys(split(text)))
        for item in items or [""]:
            if item not in known:
                wanted = f"some of {', '.join(known)}" if len(known) > 1 else known[0]
                raise argparse.ArgumentTypeError(
                    f"found {quoted(item)}, wanted {wanted}{nearest(item, known)}"
                )
        return items

    return read


def numbers(text: str) -> list[str]:
    """A list of positive numbers, as they are spelt."""
    items = split(text)
    for item in items or [""]:
        try:
            good = 0 < float(item) < float("inf")
        except ValueError:
            good = False
        if not good:
            raise argparse.ArgumentTypeError(f"found {quoted(item)}, wanted numbers above 0")
    return items


def whole(least: int) -> Callable[[str], int]:
    """A whole number that is not below `least`."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"found {quoted(text)}, wanted a whole number, {least} or more"
            )
        return int(text)

    return read


def there(text: str) -> Path:
    """A file or directory that exists."""
    path = Path(text)
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{quoted(text)}: no such file or directory")
    return path


def new_file(text: str) -> Path:
    """A file to write, in a directory that exists."""
    path = Path(text)
    if not path.parent.is_dir() or path.is_dir():
        raise argparse.ArgumentTypeError(
            f"found {quoted(text)}, wanted a file in a directory that exists"
        )
    return path


def flat(lists: list[list[str]]) -> list[str]:
    """What `nargs` makes of list_of() as one list, each word once."""
    return list(dict.fromkeys(word for words in lists for word in words))


# ---- whole command lines -------------------------------------------------------------------------


def no_words(about: str) -> None:
    """The command line of a script that takes nothing but --help."""
    Parser(about).parse_args()


def output(about: str, default: str) -> Path:
    """The command line of a script that makes files: [OUT]."""
    parser = Parser(about)
    parser.add_argument("out", nargs="?", type=Path, default=default, metavar="OUT")
    return parser.parse_args().out


def write_flag(about: str, what: str) -> bool:
    """The command line of a script that compares a file, and with --write makes it."""
    parser = Parser(about)
    parser.add_argument("--write", action="store_true", help=f"make {what} again")
    return parser.parse_args().write

# SPDX-License-Identifier: MPL-2.0
"""Reads Rust files just well enough for the checks in this folder: what is code, comment, string, test."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[1]

_TOKEN = re.compile(
    r"""(?P<line>//[^\n]*)
      | (?P<block>/\*)
      | (?P<raw>\b(?:b|c)?r(?P<hashes>\#*)"(?P<rawbody>.*?)"(?P=hashes))
      | (?P<string>\b[bc]?"(?:[^"\\]|\\.)*"|"(?:[^"\\]|\\.)*")
      | (?P<char>b?'(?:[^'\\\n]|\\(?:x[0-9a-fA-F]{2}|u\{[0-9a-fA-F_]+\}|.))')
    """,
    re.X | re.S,
)
_CFG_TEST = re.compile(r"#\s*\[\s*cfg\s*\(\s*(?:all\s*\(\s*)?test\b[^\]]*\]")
_INLINE_MOD = re.compile(r"\bmod\s+(\w+)\s*\{")
_FUNCTION = re.compile(r"\bfn\s+(\w+)")
_USE = re.compile(r"\buse\s+([^;]+);")
_PATH = re.compile(r"(?<![\w:.])(?:::)?((?:r#)?[A-Za-z_]\w*(?:\s*::\s*[A-Za-z_]\w*)+)")


class RustFile:
    """One file: `code` is its text with comments and the insides of strings blanked, position by position."""

    def __init__(self, name, text):
        self.name = name  # as in "src/peer/mod.rs"
        self.text = text
        self.strings = []  # (position, body)
        self._comments = {}  # line -> text of the comments on it
        self._bare = set()  # lines that hold a comment and no code
        self.code = self._mask()
        self._starts = [0] + [found.end() for found in re.finditer("\n", text)]
        self.test_ranges = self._find_tests()
        for line in self._comments:
            if not self._code_line(line).strip():
                self._bare.add(line)

    def _mask(self):
        out, at, text = [], 0, self.text
        line_of = 1

        def blank(part):
            return re.sub(r"[^\n]", " ", part)

        while True:
            found = _TOKEN.search(text, at)
            if not found:
                out.append(text[at:])
                return "".join(out)
            out.append(text[at:found.start()])
            line_of += text.count("\n", at, found.start())
            end = found.end()
            if found["block"]:
                end = self._block_end(found.start())
            whole = text[found.start():end]
            if found["line"] or found["block"]:
                for offset, part in enumerate(whole.split("\n")):
                    self._comments[line_of + offset] = self._comments.get(line_of + offset, "") + part
                out.append(blank(whole))
            elif found["char"]:
                out.append("'" + " " * (len(whole) - 2) + "'")
            else:
                self.strings.append((found.start(), found["rawbody"] if found["raw"] else whole.split('"', 1)[1][:-1]))
                out.append('"' + blank(whole[1:-1]) + '"')
            line_of += whole.count("\n")
            at = end

    def _block_end(self, start):
        depth = 0
        for found in re.finditer(r"/\*|\*/", self.text[start:]):
            depth += 1 if found.group() == "/*" else -1
            if depth == 0:
                return start + found.end()
        return len(self.text)

    def _find_tests(self):
        ranges = []
        for found in _CFG_TEST.finditer(self.code):
            end = self._item_end(found.end())
            ranges.append((found.start(), end))
        return ranges

    def _item_end(self, position):
        """The end of the item (with its attributes) that starts at `position`: its `;` or its closing brace."""
        depth = 0
        for at in range(position, len(self.code)):
            char = self.code[at]
            if char in "([":
                depth += 1
            elif char in ")]":
                depth -= 1
            elif depth == 0 and char == ";":
                return at + 1
            elif depth == 0 and char == "{":
                return self.closing_brace(at) + 1
        return len(self.code)

    def closing_brace(self, opening):
        """The position of the brace that closes the one at `opening`."""
        depth = 0
        for at in range(opening, len(self.code)):
            if self.code[at] == "{":
                depth += 1
            elif self.code[at] == "}":
                depth -= 1
                if depth == 0:
                    return at
        return len(self.code) - 1

    def line(self, position):
        """The line number, from 1, of a position."""
        low, high = 0, len(self._starts)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._starts[middle] <= position else (low, middle)
        return low + 1

    def _code_line(self, number):
        start = self._starts[number - 1]
        end = self._starts[number] if number < len(self._starts) else len(self.code)
        return self.code[start:end]

    def comment(self, line):
        """The comments on a line, joined."""
        return self._comments.get(line, "")

    def is_comment_only(self, line):
        """A line with a comment and nothing else."""
        return line in self._bare

    def lines(self):
        """How many lines the file has."""
        return self.text.count("\n") + (not self.text.endswith("\n"))

    def lines_outside_tests(self):
        """How many of them are not in `#[cfg(test)]` items."""
        return self.lines() - sum(self.line(end) - self.line(start) + 1 for start, end in self.test_ranges)

    def in_test(self, position):
        """Whether a position lies in a `#[cfg(test)]` item."""
        return any(start <= position < end for start, end in self.test_ranges)

    def functions(self):
        """(position, name, number of lines) of each function with a body."""
        for found in _FUNCTION.finditer(self.code):
            end = self._item_end(found.end())
            if self.code[end - 1] == "}":
                yield found.start(), found[1], self.line(end) - self.line(found.start()) + 1

    def test_modules(self):
        """Names of the `#[cfg(test)] mod name;` that live in files of their own."""
        for start, end in self.test_ranges:
            found = re.search(r"\bmod\s+(\w+)\s*;\s*$", self.code[start:end])
            if found:
                yield found[1]

    def module_path(self, position=None):
        """The module of the file, as a list of names below the crate, with the inline modules around `position`."""
        parts = list(pathlib.PurePosixPath(self.name).with_suffix("").parts[1:])
        if parts and parts[-1] in ("mod", "lib", "main"):
            parts.pop()
        if position is not None:
            for found in _INLINE_MOD.finditer(self.code):
                if found.end() <= position <= self.closing_brace(found.end() - 1):
                    parts.append(found[1])
        return parts

    def paths(self):
        """(position, path) of all paths with two names or more, and of all imports; relative ones as `crate::…`."""
        uses = []
        for found in _USE.finditer(self.code):
            uses.append((found.start(), found.end()))
            for path in expand_use(found[1]):
                yield found.start(), self._absolute(path, found.start())
        for found in _PATH.finditer(self.code):
            if not any(start <= found.start() < end for start, end in uses):
                yield found.start(), self._absolute(re.sub(r"\s", "", found[1]), found.start())

    def _absolute(self, path, position):
        names = path.removeprefix("::").split("::")
        here = self.module_path(position)
        if names[0] == "self":
            return "::".join(["crate", *here, *names[1:]])
        if names[0] != "super":
            return "::".join(names)
        while names and names[0] == "super":
            names.pop(0)
            here = here[:-1]
        return "::".join(["crate", *here, *names])


def expand_use(tree):
    """The paths of a use tree: `a::{b, c::d as e}` gives `a::b` and `a::c::d`."""
    tree = tree.strip()
    opening = tree.find("{")
    if opening < 0:
        path = re.sub(r"\s+as\s+\w+$", "", tree)
        return [re.sub(r"\s", "", path).removesuffix("::self")]
    prefix = re.sub(r"\s", "", tree[:opening])
    inner, depth, part, paths = tree[opening + 1:tree.rfind("}")], 0, "", []
    for char in inner + ",":
        depth += (char == "{") - (char == "}")
        if char == "," and depth == 0:
            if part.strip():
                paths += [(prefix + path).removesuffix("::self") for path in expand_use(part)]
            part = ""
        else:
            part += char
    return paths


def load(root=ROOT):
    """All files under `src`, and the names of those that are only compiled for tests."""
    files = {}
    for path in sorted((root / "src").rglob("*.rs")):
        name = path.relative_to(root).as_posix()
        files[name] = RustFile(name, path.read_text(encoding="utf-8"))
    return list(files.values()), test_files(files)


def test_files(files):
    """Names of the files that are `tests.rs`, lie under a `tests` folder or are a `#[cfg(test)] mod name;`."""
    only_tests = set()
    for name, file in files.items():
        parts = pathlib.PurePosixPath(name).parts
        if parts[-1] == "tests.rs" or "tests" in parts[:-1]:
            only_tests.add(name)
        folder = "/".join(["src", *file.module_path()])
        for module in file.test_modules():
            only_tests |= {f"{folder}/{module}.rs", f"{folder}/{module}/mod.rs"} & set(files)
            only_tests |= {other for other in files if other.startswith(f"{folder}/{module}/")}
    return only_tests

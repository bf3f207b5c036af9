"""Explain a TOML syntax error: which line is wrong, why, and the line to write instead.

`tomllib` says only at which character it stopped. People make the same few mistakes, most of them in the syntax of
another format: JSON, YAML, INI, Python. So the line is repaired for these mistakes. The repaired line is the advice, if
it is valid TOML.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

_SECTIONS = ("server", "defaults", "mounts", "proxy", "logging", "doctor", "status")
_KEY = r"""(?P<key>"[^"]*"|'[^']*'|[“”„][^“”]*[“”]|[^\s"'“”=:]+["']?)"""
_SEPARATOR = r"(?P<separator>\s*(?:=>|->|:=|==|=|:)\s*|\s+)"
_STATEMENT = re.compile(rf"(?:- +)?{_KEY}{_SEPARATOR}(?P<value>\S.*)")
_OPEN_KEY = re.compile(r"""(?P<key>["'“][^"'“”=]+?)(?P<separator>\s*=\s*)(?P<value>\S.*)""")
_HEADER = re.compile(r"\[+\s*(?P<name>[^\[\]#]*?)\s*\]*\s*(?:#.*)?")
_BLOCK = re.compile(rf"(?:- +)?{_KEY}\s*(?::|\{{|:\s*\{{)?")  # of YAML or nginx
_COMMENT = re.compile(r"(?://+|;+|--+|/\*+|%+)\s*(?P<text>\S.*?)\s*(?:\*/)?")
# Bounded, since a bracket that nothing closes would make each later one scan to the end.
_ITEM = re.compile(r"""(?:"[^"]{0,1000}"|'[^']{0,1000}'|\[[^\]]{0,1000}\]|\{[^}]{0,1000}\}|[^,"'\[{])+""")
_TOKEN = re.compile(
    r"""\"{3}(?:[^\\]|\\.)*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)|"(?:[^"\\\n]|\\.)*"?|'[^'\n]*'?|\#[^\n]*|[][{}\n]""",
    re.DOTALL,
)
_STRAIGHT = str.maketrans(dict.fromkeys("“”„«»", '"') | dict.fromkeys("\u2018\u2019\u00b4`", "'"))
_BOOLEANS = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
_INVISIBLE = re.compile(r"[^\S \t\r\n]|[\u200b-\u200f\u2060\ufeff\x00-\x08\x0e-\x1f\x7f]")
_LONGEST = 500  # characters of a line that is repaired; a line that a person writes is shorter


class Mistake(NamedTuple):
    """The *line* with the mistake, counted from 1, and the *explanation* with the text to write instead."""

    line: int
    explanation: str


def explain(text: str, line: int, message: str) -> Mistake:
    """Return the mistake for which tomllib stopped in *line* of *text* with *message*.

    The explanation is *message* if the mistake is not one of the known ones.
    """
    lines = text.split("\n")
    if message == 'Expected "\'"':  # tomllib reports a missing single quote at the end of the document
        line = next((number for number, other in enumerate(lines, 1) if "'" in other and not _is_toml(other)), line)
    source = lines[line - 1].strip(" \t\r")
    if foreign := re.match(r"\s*(?:(<)|\{\s*[\"}\n])", text):
        found = "XML or HTML" if foreign[1] else "JSON"
        return Mistake(1, f'expected TOML, found {found}; write [mounts], and below it "/path" = "module:app"')
    if twice := _written_twice(lines, line, message):
        return Mistake(line, twice)
    if unclosed := _unclosed(text, line):
        return unclosed
    if invisible := _INVISIBLE.search(source):
        found = f"the character U+{ord(invisible[0]):04X}"
        return Mistake(line, f"expected visible characters and plain spaces, found {found}; delete it")
    if advice := _explain_without_line(source):
        return Mistake(line, advice)
    if len(source) <= _LONGEST and (repair := _Repair(source)).line:
        reasons = ", and ".join(repair.reasons)
        hidden = " (the line is not shown, because it may hold a secret)"
        return Mistake(line, reasons + (hidden if _may_be_secret(lines, line) else f"; write {repair.line}"))
    return Mistake(line, message)


def _may_be_secret(lines: list[str], line: int) -> bool:
    """Whether *line* may hold a password: the message goes to the log, which more people read than the file."""
    if re.search(r"key|secret|passw|token|dsn|url|\benv\b", lines[line - 1], re.IGNORECASE):
        return True
    headers = [other for other in lines[:line] if other.lstrip().startswith("[")]
    return bool(headers) and re.search(r"\benv\s*\]", headers[-1]) is not None


def _explain_without_line(source: str) -> str:
    if re.search(r"=\s*[0-9][0-9_.]*\s*[A-Za-z%]+\s*(#.*)?$", source):
        return "a number has no unit; write the number of bytes or seconds alone"
    if re.search(r"""^[^{]*["'\w\]]\s+["'\w./-]+\s*=(?!=)""", source.partition("=")[2]):
        return "one line holds one key; write each key in a line of its own"
    if re.search(r"""["']\s*[,;]\s*["'/][\w./-]+["']?\s*=(?!=)""", source) and "{" not in source:
        return "one line holds one key; write each key in a line of its own"
    if re.search(r"=\s*(null|None|nil|~)\b", source):
        return "TOML has no null; delete the line, and the key has its default"
    if source in ("}", "]", "},", "],", "---", "..."):
        return f'expected key = value, found "{source}"; delete it'
    if re.search(r"=\s*(#.*)?$", source):
        return 'expected a value after "=", found none; write the value in the same line'
    return ""


# ------------------------------------------------------------------------------------------- mistakes of several lines


def _written_twice(lines: list[str], line: int, message: str) -> str:
    """Return the explanation if *line* sets a key or opens a table that an earlier line has, else an empty string."""
    if inline := re.match(r"Duplicate inline table key '(.*)'", message):
        return f"expected each key once, found {inline[1]} twice in one table; remove one of them"
    if not message.startswith("Cannot "):
        return ""
    source = lines[line - 1].strip()
    header = re.match(r"\[+\s*(?P<name>[^\[\]]*?)\s*\]", source)
    if header:
        for number, other in enumerate(lines[: line - 1], 1):
            if (same := re.match(r"\s*\[+\s*(?P<name>[^\[\]]*?)\s*\]", other)) and same["name"] == header["name"]:
                return (
                    f"expected one table [{header['name']}], found another in line {number}; "
                    f"move its keys below line {number}, and delete this line"
                )
    found = header or re.match(_KEY, source)
    if not found:
        return ""
    if header and (mount := re.fullmatch(r"""mounts\s*\.\s*("[^"]*"|'[^']*')""", header["name"])):
        for number, other in enumerate(lines[: line - 1], 1):
            if one := re.match(rf"""\s*{re.escape(mount[1])}\s*=\s*("[^"]*"|'[^']*')\s*(?:#.*)?$""", other):
                return (
                    f"expected the mount {mount[1]} once, found it in line {number} too; "
                    f"write app = {one[1]} below this line, and delete line {number}"
                )
    for key in reversed(re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", found[1])):
        for number, other in enumerate(lines[: line - 1], 1):
            if re.match(rf"""\s*(?:[\w-]+\.)*{re.escape(key)}\s*[=.]""", other):
                return f"expected the key {key} once, found it in line {number} too; remove one of the two"
    return ""


def _unclosed(text: str, line: int) -> Mistake | None:
    """Return the mistake if a bracket or a long string is open at the end of *line*."""
    opened: list[tuple[str, int]] = []  # each open bracket with its line
    number = 1
    is_header = False
    line_start = 0
    for token in _TOKEN.finditer(text):
        found = token[0]
        if found == "\n":
            if opened and opened[-1][0] == "{":
                break
            number, is_header, line_start = number + 1, False, token.end()
            if number > line:
                break
        elif found[:3] in ('"""', "'''"):
            if len(found) < 6 or not found.endswith(found[:3]):
                return Mistake(number, f"the string that begins here has no end; write {found[:3]} after it")
            number += found.count("\n")
        elif found == "[" and not opened and not text[line_start : token.start()].strip():
            is_header = True
        elif found in "[{" and not is_header:
            opened.append((found, number))
        elif found in "]}" and opened:
            opened.pop()
    if not opened:
        return None
    bracket, number = opened[-1]
    if bracket == "[":
        return Mistake(number, 'an array has commas between its values and ends with "]"; write ["one", "two"]')
    name = text.split("\n")[number - 1].partition("=")[0].strip("\"'{: \t")
    table = f'[mounts."{name}"]' if "/" in name else f"[{name}]" if name in _SECTIONS else "a table [section.name]"
    explanation = "a table in braces is one line and ends with }"
    return Mistake(number, f"{explanation}; write {table}, and below it one key a line")


# ------------------------------------------------------------------------------------------------- mistakes of one line


class _Repair:
    """The *line* to write in place of a source line, with the reasons. It is empty if no repair is known."""

    def __init__(self, source: str) -> None:
        self.reasons: list[str] = []
        self.line = ""
        for repaired in self._candidates(source):
            if repaired and repaired != source and _is_toml(repaired):
                self.line = repaired
                return
            self.reasons.clear()

    def _candidates(self, source: str) -> Iterator[str]:
        if comment := _COMMENT.fullmatch(source):
            self._because('a comment begins with "#"')
            yield f"# {comment['text']}"
        if header := _HEADER.fullmatch(source):
            yield self._header(header["name"])
        elif block := _BLOCK.fullmatch(source):
            name = block["key"].translate(_STRAIGHT)
            yield self._header(name) if name in _SECTIONS or "/" in name else ""
        elif statement := _OPEN_KEY.fullmatch(source) or _STATEMENT.fullmatch(source):
            yield self._statement(statement)

    def _because(self, reason: str) -> None:
        if reason not in self.reasons:
            self.reasons.append(reason)

    def _header(self, name: str) -> str:
        if _is_toml(f"[{name}]"):
            self._because("the name of a table is in one pair of brackets")
            return f"[{name}]"
        key = re.sub(r"^mounts\s*\.\s*", "", name.translate(_STRAIGHT)).strip("\"' ")
        if "/" not in key:
            return ""
        self._because("a quote is missing" if '"' in name else "a key that contains a slash needs quotes")
        return f"[mounts.{json.dumps(key, ensure_ascii=False)}]"

    def _statement(self, match: re.Match[str]) -> str:
        key, separator, value = match["key"], match["separator"].strip(), match["value"]
        if separator != "=":
            self._because('a key and its value need "=" between them')
        key = self._key(key)
        return f"{key} = {self._value(value)}"

    def _key(self, key: str) -> str:
        straight = key.translate(_STRAIGHT)
        if straight != key:
            self._because("TOML has only straight quotes")
        if _is_toml(f"{straight} = 0"):
            return straight
        bare = straight.strip("\"'")
        has_quote = bare != straight
        self._because("a quote is missing" if has_quote else f"a key that contains {_special(bare)} needs quotes")
        return json.dumps(bare, ensure_ascii=False)

    def _value(self, value: str) -> str:
        """Return *value* as TOML, or as it is if it cannot be repaired."""
        if _is_value(value):
            return value
        if (shorter := value.rstrip(",; ")) != value:
            self._because("nothing follows the value in its line")
            value = shorter
        elif comment := re.search(r"""\s+(?://|;|--)\s*([^"']*)$""", value):
            self._because('a comment begins with "#"')
            return f"{self._value(value[: comment.start()])}  # {comment[1]}"
        if (straight := value.translate(_STRAIGHT)) != value:
            self._because("TOML has only straight quotes")
            value = straight
        if _is_value(value):
            return value
        if value.lower() in _BOOLEANS:
            self._because("a boolean is true or false")
            return _BOOLEANS[value.lower()]
        if value[0] == "{" and value[-1] == "}":
            return f"{{ {', '.join(self._entries(value[1:-1]))} }}"
        if value[0] == "[" and value[-1] == "]":
            return f"[{', '.join(self._items(value[1:-1]))}]"
        if value[0] in "\"'" or value[-1] in "\"'":
            return self._string(value)
        return self._unquoted(value)

    def _entries(self, inside: str) -> Iterator[str]:
        if inside.rstrip().endswith(","):
            self._because("a table in braces has no comma at its end")
        for item in _ITEM.findall(inside):
            if not item.strip():
                self._because("a table in braces has no comma at its end")
            elif match := _STATEMENT.fullmatch(item.strip()):
                yield self._statement(match)
            else:
                yield item

    def _items(self, inside: str) -> Iterator[str]:
        with_commas = re.sub(r"""(["'])\s+(["'])""", r"\1, \2", inside)
        if with_commas != inside:
            self._because("an array has commas between its values")
        for item in _ITEM.findall(with_commas):
            yield self._value(item.strip()) if item.strip() else ""

    def _string(self, value: str) -> str:
        inside = value.strip("\"'")
        if value[0] == value[-1] == '"' and len(value) > 1:
            inside = value[1:-1]
            if "\\" in inside:
                self._because("a backslash in double quotes begins an escape")
                return f"'{inside}'"
            if re.fullmatch(r'[^"]*"(\s*,\s*"[^"]*")+', value[1:]):
                self._because("several values are an array")
                return f"[{value}]"
            if "(" not in inside:
                return value
            self._because("a string in double quotes contains no double quotes")
            return f"'{inside}'"
        if re.search("[\"']", inside):
            return value
        self._because("a quote is missing")
        return json.dumps(inside, ensure_ascii=False) if "\\" not in inside else f"'{inside}'"

    def _unquoted(self, value: str) -> str:
        text, space, comment = re.fullmatch(r"(.*?)(\s+(?=#))?((?:(?<=\s)#.*)?)", value).groups("")  # type: ignore[union-attr]
        if text.isdecimal():
            self._because("a number does not begin with 0")
            text = text.lstrip("0")
        elif re.fullmatch(r"[0-9]+,[0-9]+", text) or (re.search(r"""["'=]""", text) and "(" not in text):
            return value
        else:
            self._because("a string needs quotes")
            text = f"'{text}'" if re.search(r'[\\"]', text) else json.dumps(text, ensure_ascii=False)
        return text + space + comment


def _special(key: str) -> str:
    return "a slash" if "/" in key else "other characters than A-Z, a-z, 0-9, - and _"


def _is_value(text: str) -> bool:
    return _is_toml(f"x = {text}")


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except (ValueError, RecursionError):
        return False
    return True

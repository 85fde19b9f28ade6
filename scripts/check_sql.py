#!/usr/bin/env python3
"""Checks the install scripts: everything has a comment, and nothing is created that may already exist."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CREATE = re.compile(r"^CREATE (FUNCTION|PROCEDURE|TABLE|VIEW|SCHEMA|TYPE|TRIGGER|FOREIGN DATA WRAPPER) ([\w.@]+)", re.M)
COMMENT = re.compile(r"^COMMENT ON (FUNCTION|PROCEDURE|TABLE|VIEW|SCHEMA|TYPE|TRIGGER|FOREIGN DATA WRAPPER) ([\w.@]+)", re.M)
COLUMN_COMMENT = re.compile(r"^COMMENT ON COLUMN ([\w.@]+)\.(\w+) IS", re.M)
TABLE = re.compile(r"^CREATE TABLE ([\w.@]+) \((.*?)^\)[^;\n]*;", re.M | re.S)
COLUMN = re.compile(r"^\t(?!PRIMARY|UNIQUE|CHECK|FOREIGN|CONSTRAINT|EXCLUDE)\"?(\w+)\"? \w", re.M)
FORBIDDEN = re.compile(r"\b(CREATE OR REPLACE|CREATE [A-Z ]+ IF NOT EXISTS)\b")


def complaints(path, text, commented):
    name = path.relative_to(ROOT)
    for number, line in enumerate(text.splitlines(), 1):
        if FORBIDDEN.search(line):
            yield f"{name}:{number}: an install script creates what does not exist yet: plain CREATE"
        if len(line) > 0 and line != line.rstrip():
            yield f"{name}:{number}: white space at the end of the line"
    for kind, made in CREATE.findall(text):
        if (kind, made) not in commented["objects"]:
            yield f"{name}: {kind} {made} has no comment"
    for table, body in TABLE.findall(text):
        for column in COLUMN.findall(body):
            if (table, column) not in commented["columns"]:
                yield f"{name}: column {table}.{column} has no comment"


def main():
    texts = {path: path.read_text() for path in sorted((ROOT / "extension").glob("[0-9]*.sql"))}
    whole = "\n".join(texts.values())
    commented = {"objects": set(COMMENT.findall(whole)), "columns": set(COLUMN_COMMENT.findall(whole))}
    found = [c for path, text in texts.items() for c in complaints(path, text, commented)]
    print("\n".join(found) if found else f"{len(texts)} files, {len(commented['objects'])} comments")
    sys.exit(1 if found else 0)


main()

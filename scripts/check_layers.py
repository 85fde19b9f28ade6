#!/usr/bin/env python3
"""Checks that the modules of src/ include each other only along the arrows of docs/architecture.md."""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

# What a module may include, and through it what that may include.
ARROWS = {
    "core": [],
    "nats": ["core"],
    "pg": ["core"],
    "settings": ["pg"],
    "catalog": ["settings"],
    "worker": ["catalog"],
    "servers": ["settings", "nats"],
    "http": ["core"],
    "flow": ["worker", "nats", "servers"],
    "job": ["worker", "nats", "servers", "http"],
    "branch": ["worker"],
    "monitor": ["worker"],
}
WITHOUT_POSTGRESQL = {"core", "nats", "http"}
LIBNATS = re.compile(r"#\s*include\s*[<\"](nats\.h|nats/nats\.h)[>\"]")
INCLUDE = re.compile(r'#\s*include\s*"([^"]+)"')
BOUNDARY = re.compile(r"\b(sigsetjmp|PG_TRY|PG_CATCH|PG_FINALLY|PG_VERSION_NUM)\b")
# A utility hook has nothing to destroy in its frame, and must clean up whichever way the statement ends.
BOUNDARY_ALLOWED = {("src/worker/pause.cpp", "PG_TRY"), ("src/worker/pause.cpp", "PG_FINALLY")}
LONGEST_FILE = 600


def allowed(module):
    """The module itself and all that its arrows lead to."""
    found = {module}
    for other in ARROWS[module]:
        found |= allowed(other)
    return found


def complaints(path):
    name = str(path.relative_to(ROOT))
    parts = path.relative_to(SOURCE).parts
    module = parts[0] if len(parts) > 1 else None  # extension.cpp sees all
    if module is not None and module not in ARROWS:
        yield f"{name}: module {module} is not in the table of check_layers.py"
        return
    lines = path.read_text().splitlines()
    if len(lines) > LONGEST_FILE:
        yield f"{name}: {len(lines)} lines; the limit is {LONGEST_FILE}"
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        include = INCLUDE.search(line)
        if module and include:
            ours = (SOURCE / include[1]).is_file()
            if ours and include[1].split("/")[0] not in allowed(module):
                yield f"{where}: {module} may not include {include[1]}"
            if not ours and module in WITHOUT_POSTGRESQL:
                yield f"{where}: {module} may not include {include[1]}, which is not ours"
        if module != "nats" and LIBNATS.search(line):
            yield f"{where}: only src/nats includes libnats"
        for word in BOUNDARY.findall(line):
            if module != "pg" and (name, word) not in BOUNDARY_ALLOWED:
                yield f"{where}: {word} belongs to src/pg"


def main():
    files = sorted(p for p in SOURCE.rglob("*") if p.suffix in (".cpp", ".h"))
    found = [complaint for path in files for complaint in complaints(path)]
    print("\n".join(found) if found else f"{len(files)} files keep the layers")
    sys.exit(1 if found else 0)


main()

"""List every document of a strongroom data folder and check it: read_strongroom.py DATA; extract it too: DATA FOLDER.

Reads segments/ and metadata/journal (see disk-format.md), and no database. Damage goes to standard error; exit code 1 then.
"""

import gzip
import hashlib
import json
import sys
import zlib
from importlib import import_module
from pathlib import Path
from urllib.parse import quote

UNPACK = {"gzip": gzip.decompress, "none": bytes, "zstd": lambda stored: import_module("compression.zstd").decompress(stored)}


def read_index(segment):
    body, _, last = segment.with_suffix(".index").read_bytes()[:-1].rpartition(b"\n")
    if json.loads(last)["index_sha256"] != hashlib.sha256(body + b"\n").hexdigest():
        raise ValueError("it does not hash to the digest in its last line")
    return [json.loads(line) | {"segment": segment} for line in body.split(b"\n")]


def read_object(line):
    place = line["object"]
    try:
        with line["segment"].open("rb") as file:
            file.seek(place["offset"])
            plain = UNPACK[place["codec"]](file.read(place["length"]))
    except (OSError, EOFError, KeyError, zlib.error, ImportError):
        return None
    return plain if hashlib.sha256(plain).hexdigest() == place["content_sha256"] else None


data, journal, places, versions = Path(sys.argv[1]), Path(sys.argv[1], "metadata", "journal"), {}, {}
cut = [(line[:16], line[17:]) for line in (journal.read_bytes() if journal.exists() else b"").split(b"\n")]
lines = [json.loads(body) if hashlib.sha256(body).hexdigest()[:16].encode() == digest else {} for digest, body in cut]
faults = [f"{journal}: line {n}" for n, after in enumerate(lines[1:], 1) if not lines[n - 1] and "torn" not in after]
for segment in sorted({path.with_suffix("") for path in data.glob("segments/??/*")}):
    try:
        lines += read_index(segment)
    except (OSError, ValueError, KeyError) as error:
        faults.append(f"the index of {segment}: {error}")
for line in (line for line in lines if "object" in line):
    places.setdefault(line["object"]["content_sha256"], []).append(line)
void = {tuple(line["void"][key] for key in ("library_id", "version", "stored_at")) for line in lines if "void" in line}
for told in sorted((line["version"] for line in lines if "version" in line), key=lambda told: told["stored_at"]):
    library, version, content = told["library_id"], told["version"], told["content_sha256"]
    history = versions.setdefault((library, version), [])
    if (library, version, told["stored_at"]) in void or (history and (history[-1] == content or told.get("refuse_other"))):
        continue
    history.append(content)
    print(library, version, len(history), content, sep="\t")
    found = places.get(content, [])
    if not (plain := next(filter(None, map(read_object, found)), None)):
        faults.append(f"{library} {version}, revision {len(history)}: no whole copy (zstd needs Python 3.14) in {found}")
    elif sys.argv[2:]:
        Path(sys.argv[2], f"{quote(f'{library}@{version}', '@')[:180]}.{len(history)}.{content[:16]}.json").write_bytes(plain)
sys.exit("\n".join(faults) or 0)

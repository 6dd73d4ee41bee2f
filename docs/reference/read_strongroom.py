"""List every document of a strongroom data folder and check it: read_strongroom.py DATA; extract it too: DATA FOLDER.

Reads segments/ and metadata/journal as disk-format.md specifies them, with the standard library alone and no database.
Exit code 1: something is damaged. Standard error tells what; the rest is served all the same.
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


def read_object(segment, content_sha256, codec, offset, length, **_):
    with segment.open("rb") as file:
        file.seek(offset)
        plain = UNPACK[codec](file.read(length))
    if hashlib.sha256(plain).hexdigest() != content_sha256:
        raise ValueError(f"its bytes in {segment} do not hash to the recorded digest")
    return plain


data, journal, versions = Path(sys.argv[1]), Path(sys.argv[1], "metadata", "journal"), {}
cut = [(line[:16], line[17:]) for line in (journal.read_bytes() if journal.exists() else b"").split(b"\n")]
lines = [json.loads(body) if hashlib.sha256(body).hexdigest()[:16].encode() == digest else {} for digest, body in cut]
faults = [f"{journal}: line {n}" for n, after in enumerate(lines[1:], 1) if not lines[n - 1] and "torn" not in after]
for segment in sorted({path.with_suffix("") for path in data.glob("segments/??/*")}):
    try:
        lines += read_index(segment)
    except (OSError, ValueError, KeyError) as error:
        faults.append(f"the index of {segment}: {error}")
places = {line["object"]["content_sha256"]: line for line in lines if "object" in line}
for told in sorted((line["version"] for line in lines if "version" in line), key=lambda told: told["stored_at"]):
    library, version, content = told["library_id"], told["version"], told["content_sha256"]
    history = versions.setdefault((library, version), [])
    if history and (history[-1] == content or told.get("refuse_other")):
        continue
    history.append(content)
    print(library, version, len(history), content, sep="\t")
    try:
        plain = read_object(places[content]["segment"], **places[content]["object"])
        if sys.argv[2:]:
            Path(sys.argv[2], f"{quote(f'{library}@{version}', '@')[:180]}.{len(history)}.{content[:16]}.json").write_bytes(plain)
    except ImportError:
        faults.append(f"{library} {version}: codec zstd needs Python 3.14, or the tool zstd and this place: {places[content]}")
    except (OSError, ValueError, KeyError, EOFError, zlib.error) as error:
        faults.append(f"{library} {version}, revision {len(history)}: {type(error).__name__} {error}")
sys.exit("\n".join(faults) or 0)

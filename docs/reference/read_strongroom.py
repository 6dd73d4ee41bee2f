"""List every document of a data folder and check it: read_strongroom.py DATA; extract it too: DATA FOLDER. See disk-format.md."""

import hashlib
import json
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote


def read_object(place):
    with suppress(OSError, EOFError, zlib.error, ImportError), place["segment"].open("rb") as file:
        file.seek(place["offset"])
        plain = zlib.decompress(file.read(place["length"]), 31) if place["codec"] == "gzip" else file.read(place["length"])
        plain = __import__("compression.zstd").zstd.decompress(plain) if place["codec"] == "zstd" else plain
        return plain if hashlib.sha256(plain).hexdigest() == place["content_sha256"] else None


data, places, versions, key = Path(sys.argv[1]), {}, {}, ("library_id", "version", "stored_at", "content_sha256")
cut = (data / "metadata/journal").read_bytes().split(b"\n") if (data / "metadata/journal").exists() else []
lines = [json.loads(told[17:]) if hashlib.sha256(told[17:]).hexdigest()[:16].encode() == told[:16] else {} for told in cut]
faults = [f"the journal: line {n}" for n, after in enumerate(lines[1:], 1) if not lines[n - 1] and "torn" not in after]
for segment in sorted({path.with_suffix("") for path in data.glob("segments/??/*")}):
    try:
        body, _, last = segment.with_suffix(".index").read_bytes()[:-1].rpartition(b"\n")
        assert json.loads(last)["index_sha256"] == hashlib.sha256(body + b"\n").hexdigest(), "it does not hash to its last line"
        lines += [json.loads(line) | {"segment": segment} for line in body.split(b"\n")]
    except (OSError, ValueError, KeyError, AssertionError) as error:
        faults.append(f"the index of {segment}: {error}")
[places.setdefault(line["object"]["content_sha256"], []).append(line["object"] | line) for line in lines if "object" in line]
void, last = {tuple(map(line["void"].get, key)) for line in lines if "void" in line}, {}
moves, held, kinds = [line["renamed"] for line in lines if "renamed" in line], {}, "version removed restored latest erased"
told = [(kind, of) for line in lines for kind, of in line.items() if kind in kinds and tuple(map(of.get, key)) not in void]
told += [("number", one | {"at": one["stored_at"], "number": one["revision"]}) for kind, one in told if kind == "removed"]
for kind, one in reversed(told):
    [one.update(library_id=to["to"]) for to in moves if one[key[0]] == to[key[0]] and to["at"] > (one.get("at") or one[key[2]])]
    of = (one[key[0]], kind == "latest" or (one["version"], one.get(key[2])), kind not in "number version erased" or id(one))
    one["since"] = last[of] = min(one.get("at") or one[key[2]], last.get(of, "~"))
for kind, one in sorted(told, key=lambda event: event[1]["since"]):
    library, version, time, _ = map(one.get, key)
    [versions.pop(gone) for gone in [*versions] if kind == "erased" and gone[0] == library and version in (None, gone[1])]
    history, held[library] = versions.setdefault((library, version), []), version if kind == "latest" else held.get(library)
    [old.update(kind=kind) for old in history if time in old["times"] and kind in ("removed", "restored")]
    live, top = [old for old in history if old["kind"] != "removed"][-1:], max([0, *(old["number"] for old in history)])
    if kind == "number":
        seen = one["revision"] <= top or any(time in old["times"] for old in history)
        history.append({key[3]: None} | one | {"kind": ("version", "removed")[seen], "times": [time][seen:]})
    elif kind == "version" and live and (live[0]["content_sha256"] == one["content_sha256"] or one.get("refuse_other")):
        live[0]["times"].append(time)
    elif kind == "version":
        history.append(one | {"kind": kind, "times": [time], "number": top + 1})
for (library, version), one in ((of, one) for of, old in versions.items() for one in old if one["kind"] != "removed"):
    number, content = one["number"], one["content_sha256"]
    print(library, version, number, content, *["latest by hand"] * (held.get(library) == version), sep="\t")
    if not (plain := next(filter(None, map(read_object, places.get(content, []))), None)):
        faults.append(f"{library} {version}, revision {number}: no good {content} (zstd needs Python 3.14; zstd -d --patch-from)")
    elif sys.argv[2:] and not Path(sys.argv[2]).mkdir(parents=True, exist_ok=True):  # mkdir returns None
        Path(sys.argv[2], f"{quote(f'{library}@{version}', '@')[:180]}.{number}.{content[:16]}.json").write_bytes(plain)
sys.exit("\n".join(faults) or 0)

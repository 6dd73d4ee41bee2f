"""Documentation of the packages installed in this environment: long descriptions and docstrings, without importing any."""

from __future__ import annotations

import ast
import re
import sysconfig
import warnings
from collections.abc import Iterator, Sequence
from email.message import Message
from importlib.metadata import Distribution, PackagePath, distributions
from pathlib import Path

from workers.demo.document import Entry

SOURCE_BYTES = 700_000
"""Sources read of one package: parsing is most of the demo's own work, and the largest packages alone would take it all."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_LEFT_OUT = {"..", "test", "tests", "testing", "_vendor", "_vendored", "vendor", "mypyc", "typeshed", "lexers"}
"""Folders whose docstrings say nothing about the package, or are tables in disguise (Pygments' lexers)."""

_Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def environment_folders() -> list[str]:
    """Return where this environment keeps its packages: not the checkout, nor the machine's own Python."""
    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def installed_packages(folders: Sequence[str]) -> list[Distribution]:
    """Return the packages in these folders by name."""
    found = {one.name.lower(): one for one in distributions(path=list(folders)) if _NAME.fullmatch(one.name or "")}
    return [found[name] for name in sorted(found)]


def package_entries(package: Distribution) -> list[Entry]:
    """Return what a package says about itself."""
    entries = [Entry(package.name, "METADATA", _overview(package))]
    for file in _sources(package):
        entries.extend(_file_entries(package, file))
    return entries


def _overview(package: Distribution) -> str:
    fields = package.metadata
    description = fields.get_payload() if isinstance(fields, Message) else ""
    lines = [fields["Summary"] or "", *(f"Requires: {one}" for one in package.requires or ())]
    return "\n".join([*lines, "", str(description or fields["Description"] or "")])


def _sources(package: Distribution) -> Iterator[PackagePath]:
    """Yield the modules, the outermost first, until SOURCE_BYTES are reached."""
    files = [file for file in package.files or () if file.suffix in {".py", ".pyi"} and not _LEFT_OUT.intersection(file.parts)]
    left = SOURCE_BYTES
    for file in sorted(files, key=lambda file: (len(file.parts), str(file))):
        if (file.size or 0) <= left:
            left -= file.size or 0
            yield file


def _file_entries(package: Distribution, file: PackagePath) -> Iterator[Entry]:
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes in other people's strings
            tree = ast.parse(Path(str(package.locate_file(file))).read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for title, node in _documented(module, tree):
        if text := ast.get_docstring(node):
            yield Entry(title, f"{file}:{getattr(node, 'lineno', 1)}", text)


def _documented(name: str, node: _Documented) -> Iterator[tuple[str, _Documented]]:
    """Yield the node and the classes and functions in it, with titles; what stands in a function is its own affair."""
    yield _title(name, node), node
    if isinstance(node, ast.Module | ast.ClassDef):
        for inner in _definitions(node.body):
            yield from _documented(f"{name}.{inner.name}", inner)


def _definitions(body: Sequence[ast.stmt]) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    return (one for one in body if isinstance(one, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef))


def _title(name: str, node: _Documented) -> str:
    match node:
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return f"{name}({ast.unparse(node.args)})" if ast.get_docstring(node, clean=False) else name
        case ast.ClassDef():
            return f"class {name}"
    return f"module {name}"

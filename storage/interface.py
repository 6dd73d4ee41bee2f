"""The table of a manager's operations. A line here gives all four faces the operation, with its types."""

from __future__ import annotations

from storage import curating, libraries, operations
from storage.faces import Listing, Operation


class Interface:
    """Every operation, once. ``storage/operations.py``, ``curating.py`` and ``libraries.py`` say what each promises."""

    initialize = Operation(operations.initialize)

    store_documentation = Operation(operations.store_documentation)
    store_many = Operation(operations.store_many)

    get_documentation = Operation(operations.get_documentation)
    get_documentation_bytes = Operation(operations.get_documentation_bytes)
    stream_documentation = Listing(operations.stream_documentation)
    retrieve_documentation = Operation(operations.get_documentation)  # its name in the platform's first store

    list_libraries = Listing(operations.list_libraries, at_once=500)
    list_versions = Operation(operations.list_versions)
    get_library = Operation(operations.get_library)
    get_storage_stats = Operation(operations.get_storage_stats)
    get_storage_statistics = Operation(operations.get_storage_stats)  # likewise

    verify_integrity = Operation(operations.verify_integrity)

    rollback = Operation(curating.rollback)
    follow_newest = Operation(curating.follow_newest)
    pin_version = Operation(curating.pin_version)
    unpin_version = Operation(curating.unpin_version)
    label_version = Operation(curating.label_version)
    get_history = Operation(curating.get_history)
    compare_versions = Operation(curating.compare_versions)

    rename_library = Operation(libraries.rename_library)
    add_alias = Operation(libraries.add_alias)
    remove_alias = Operation(libraries.remove_alias)
    list_aliases = Operation(libraries.list_aliases)
    export_library = Operation(libraries.export_library)
    import_library = Operation(libraries.import_library)
    plan_erasure = Operation(libraries.plan_erasure)
    erase = Operation(libraries.erase)
    resume_erasures = Operation(libraries.resume_erasures)
    plan_backup_erasure = Operation(libraries.plan_backup_erasure)
    erase_from_backups = Operation(libraries.erase_from_backups)

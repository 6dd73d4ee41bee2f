"""storage/quotas.py: what a library may take."""

from __future__ import annotations

import pytest

from storage.quotas import parse_quotas
from strongroom.errors import ConfigurationError


def test_the_most_exact_pattern_says_what_a_library_may_take() -> None:
    quotas = parse_quotas({"*": "10GB", "/legal/*": "unlimited", "/legal/a": 5, "total": "1TB"})
    assert [quotas.of(name) for name in ("/x", "/legal/b", "/legal/a", "total")] == [10**10, None, 5, 10**10]
    assert quotas.total_bytes == 10**12
    assert quotas
    assert not parse_quotas({})
    assert not parse_quotas({"/legal/*": "unlimited"})


@pytest.mark.parametrize("limit", ["ten", "", 0, -1, None, True, "1.5GB", {"max": 1}])
def test_a_limit_that_is_no_size_is_refused_by_name(limit: object) -> None:
    with pytest.raises(ConfigurationError, match=r"STRONGROOM_QUOTAS: the limit for '/a' is no size"):
        parse_quotas({"*": "1GB", "/a": limit})

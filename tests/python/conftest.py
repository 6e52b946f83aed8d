# SPDX-License-Identifier: Apache-2.0
"""Real networks, as fixtures that skip where the files are not there."""

import pytest

import support


@pytest.fixture(scope="session")
def real_data():
    """Path of a file or folder among the real networks and data."""

    def find(name):
        path = support.SHARED / name
        if not path.exists():
            pytest.skip(f"{name} is not in {support.SHARED}")
        return path

    return find

"""When a file that was not found is proved to be gone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from indexer.folders.absence import Evidence
from tests.unit.test_mirror import known_of, root, write  # noqa: F401 - a fixture


def test_an_empty_folder_that_nobody_changed_since_is_a_disk_that_is_not_mounted(root):  # noqa: F811
    write(root, "kept")
    mount = root / "mnt"
    source = known_of(write(root, "kept"), uri=f"{root}/mnt/deep/a", stored_at=datetime.now(UTC) + timedelta(hours=1))
    mount.mkdir()
    (mount / ".keep").touch()
    reason, proved = Evidence(root, []).of(source)
    assert (proved, "not mounted" in reason) == (False, True)
    (mount / "b").write_text("b")
    assert Evidence(root, []).of(source)[1]


def test_a_link_is_not_gone_where_the_disk_that_it_leads_to_may_not_be_mounted(root):  # noqa: F811
    write(root, "kept")
    source = known_of(root / "kept", uri=f"{root}/link", stored_at=datetime.now(UTC) + timedelta(hours=1))
    (root / "mnt").mkdir()
    (root / "link").symlink_to("mnt/deep/a")
    reason, proved = Evidence(root, []).of(source)
    assert (proved, "not mounted" in reason) == (False, True)
    (root / "link").unlink()
    assert Evidence(root, []).of(source)[1]


def test_the_last_file_that_is_deleted_from_a_folder_is_gone(root):  # noqa: F811
    write(root, "kept")
    path = write(root, "sub/a")
    source = known_of(path)
    path.unlink()
    assert Evidence(root, []).of(source) == ("there is no such file any more", True)


def test_a_file_that_is_back_is_not_gone(root):  # noqa: F811
    reason, proved = Evidence(root, []).of(known_of(write(root, "back")))
    assert (reason, proved) == ("it has come back meanwhile", False)


def test_what_is_no_file_any_more_is_gone(root):  # noqa: F811
    write(root, "kept")
    source = known_of(root / "kept", uri=f"{root}/pipe")
    os.mkfifo(root / "pipe")
    assert Evidence(root, []).of(source) == ("it is not a file any more", True)


def test_what_is_found_elsewhere_through_a_link_is_gone_from_where_it_was(root):  # noqa: F811
    source = known_of(write(root, "sub/a"))
    (root / "sub").rename(root / "new")
    (root / "sub").symlink_to("new")
    assert Evidence(root, []).of(source) == (f"it is {root}/new/a now", True)

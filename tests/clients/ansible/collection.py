"""Takes the one collection that is tried out of the package `ansible`, which has a hundred others."""

import pathlib
import subprocess
import sys
import zipfile

PACKAGE = "ansible==12.3.0"
COLLECTION = "ansible_collections/community/hashi_vault/"

place = pathlib.Path("collections")
if not (place / COLLECTION).is_dir():
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:", "--dest", "wheel", PACKAGE],
        check=True,
    )
    (wheel,) = pathlib.Path("wheel").glob("ansible-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(place, [name for name in archive.namelist() if name.startswith(COLLECTION)])
    wheel.unlink()

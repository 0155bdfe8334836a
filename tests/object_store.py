"""A bucket that can do what a bucket can, behind etils' `gs://`, for the tests of remote workdirs.

Objects are put whole when their file is closed, folders are prefixes and nothing more, and every
call that a bucket lacks (append, rename, copy, lock) raises.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from etils import epath
from etils.epath import backend, gpath, stat_utils


class NotInABucket(AssertionError):
    """Something was asked for that object stores cannot do."""


class _Put(io.BytesIO):
    def __init__(self, store: "ObjectStore", key: str):
        super().__init__()
        self._store, self._key = store, key

    def close(self) -> None:
        if not self.closed:
            self._store.objects[self._key] = self.getvalue()
            self._store.puts.append(self._key)
        super().close()


class ObjectStore(backend.Backend):
    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.puts: list[str] = []

    def open(self, path, mode):
        key, binary, kind = str(path), "b" in mode, mode.replace("b", "")
        if kind == "w":
            file = _Put(self, key)
        elif kind == "r":
            if key not in self.objects:
                raise FileNotFoundError(2, "no such object", key)
            file = io.BytesIO(self.objects[key])
        else:
            raise NotInABucket(f"open({key!r}, {mode!r})")
        return file if binary else io.TextIOWrapper(file, encoding="utf-8")

    def exists(self, path):
        return str(path) in self.objects or self.isdir(path)

    def isdir(self, path):
        return any(True for _ in self._below(path))

    def listdir(self, path):
        names = {key.split("/")[0] for key in self._below(path)}
        if not names:
            raise FileNotFoundError(2, "no such prefix", str(path))
        return sorted(names)

    def glob(self, path):
        import fnmatch

        return [key for key in list(self.objects) if fnmatch.fnmatch(key, str(path))]

    def walk(self, top, *, top_down=True, on_error=None):
        raise NotInABucket(f"walk({top!r})")

    def makedirs(self, path, *, exist_ok=False, mode=None):
        pass

    def mkdir(self, path, *, exist_ok=False, mode=None):
        pass

    def rmtree(self, path):
        for name in list(self._below(path)):
            del self.objects[f"{str(path).rstrip('/')}/{name}"]

    def remove(self, path):
        if self.objects.pop(str(path), None) is None:
            raise FileNotFoundError(2, "no such object", str(path))

    def rename(self, path, dst):
        raise NotInABucket(f"rename({path!r}, {dst!r})")

    def replace(self, path, dst):
        raise NotInABucket(f"replace({path!r}, {dst!r})")

    def copy(self, path, dst, overwrite):
        raise NotInABucket(f"copy({path!r}, {dst!r})")

    def stat(self, path):
        key = str(path)
        if key not in self.objects and not self.isdir(path):
            raise FileNotFoundError(2, "no such object", key)
        return stat_utils.StatResult(
            is_directory=key not in self.objects,
            length=len(self.objects.get(key, b"")),
            mtime=0,
            owner=None,
            group=None,
            mode=None,
        )

    def _below(self, path) -> Iterator[str]:
        prefix = str(path).rstrip("/") + "/"
        return (key[len(prefix) :] for key in list(self.objects) if key.startswith(prefix))


@contextmanager
def mounted() -> Iterator[ObjectStore]:
    """Inside, `gs://` is an empty `ObjectStore`."""
    store = ObjectStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gpath._PREFIX_TO_BACKEND, "gs", store)
        patch.setattr(gpath, "_is_tf_installed", lambda: False)
        assert epath.Path("gs://bucket")._backend is store
        yield store

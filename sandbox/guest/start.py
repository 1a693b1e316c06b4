"""What a guest's archive does when it is executed: prepare, then serve one run. Its `__main__`, and never imported."""

import gc
import sys
import zipimport


class Importer(zipimport.zipimporter):
    """An importer that loads a module's code once; the original does so also to see where the code is."""

    def get_filename(self, fullname: str) -> str:
        """Return where a module of this archive is."""
        path = f"{self.archive}/{self.prefix}{fullname.rpartition('.')[2]}"
        return f"{path}/__init__.py" if self.is_package(fullname) else f"{path}.py"


if __name__ == "__main__":
    gc.disable()  # While nothing but modules is made; `prepare` ends that.
    sys.path_hooks.insert(0, Importer)
    sys.path_importer_cache.pop(sys.path[0], None)
    import bootstrap  # type: ignore[import-not-found]  # a module of the archive

    bootstrap.prepare(*sys.argv[2:])
    bootstrap.main(int(sys.argv[1]))

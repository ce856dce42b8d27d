# SPDX-License-Identifier: Apache-2.0
"""Spack's recipe for lorac (Spack 1.0 and later), for packages/lorac/package.py of a repository.

Not run: there is no Spack on the machine that lorac is developed on. Checked: it is Python, the
names that it imports and calls are those of Spack's own recipes, and each package that it depends
on is one of Spack's (November 2026). The URL and the checksum are missing until there is a release.
"""

from spack_repo.builtin.build_systems.makefile import MakefilePackage

from spack.package import *


class Lorac(MakefilePackage):
    """LoRA fine-tuning of Llama and Qwen2 models on CPUs."""

    license("Apache-2.0", checked_by="lorac")

    # `make dist` makes lorac-0.1.0.tar.gz; name its directory in a mirror, or use `spack develop`.
    manual_download = True
    version("0.1.0")

    depends_on("c", type="build")
    depends_on("gmake", type="build")
    depends_on("pkgconfig", type="build")
    depends_on("blas")  # any: lorac's own products do not use it
    depends_on("hdf5@1.10: ~mpi")
    depends_on("libyaml")
    depends_on("jansson")
    depends_on("pcre2")
    depends_on("utf8proc")
    depends_on("openssl@3:")
    depends_on("zlib-api")
    depends_on("zstd")
    depends_on("libedit")
    # Spack has no libcsv: lorac is built without CSV.

    @property
    def build_targets(self):
        # Spack's compiler wrapper adds the rpath of every dependency.
        blas = self.spec["blas"]
        return [
            f"PREFIX={self.prefix}",
            f"OPENBLAS_CFLAGS={blas.headers.include_flags}",
            f"OPENBLAS_LIBS={blas.libs.ld_flags}",
            "CSV_LIBS=",
        ]

    def install(self, spec, prefix):
        make("install", *self.build_targets)

"""Runs one target under atheris: `python -m tests.fuzz.run decode [options of libFuzzer]`."""

import sys
import warnings

import atheris

with atheris.instrument_imports():
    import tarfile  # noqa: F401
    import zipfile  # noqa: F401

    from tests.fuzz.targets import TARGETS


def main():
    warnings.simplefilter("ignore")
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

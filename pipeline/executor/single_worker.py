"""The worker of `single`: reads, decodes, detects, embeds and writes, one batch after the other.

    python -m pipeline.executor.single_worker < JOB

It answers with lines of JSON on standard output: ["part", RESULT] for each part, then ["done", {}],
or ["error", [class, message]].
"""

import json
import os
import pickle
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import pyarrow as pa

from pipeline import errors
from pipeline.errors import FacelakeError
from pipeline.executor.resources import part_images
from pipeline.executor.work import Job, detect_options, embed_options, failed, read_unit
from pipeline.lake.ledger import Ledger
from pipeline.sources.units import Unit
from pipeline.stages.decode import Decode
from pipeline.stages.write import Write


def results(job: Job, units: list[Unit], ledger: Ledger) -> Iterator[pa.Table]:
    """Do the work, yielding a table of schema `RESULT` for each published part.

    Models are loaded while photos are read and decoded.
    """
    pools = job.config.pools
    write = Write(job.lake, job.models, job.run_id, ledger.forgotten)
    with ThreadPoolExecutor(2) as threads:
        detect, embed = threads.submit(_detect, job), threads.submit(_embed, job)
        read = (table for unit in units for table in read_unit(unit, job, ledger))
        decode = Decode(job.config.decode)
        detected = (
            detect.result()(part)
            for batch in batches(read, pools.detect_batch)
            for part in decode(batch)
        )
        embedded = (embed.result()(batch) for batch in batches(detected, pools.embed_batch))
        images = sum(len(unit.names) for unit in units)
        for batch in batches(embedded, part_images(pools, images)):
            yield write(batch)


def _detect(job: Job) -> Any:
    from pipeline.stages.detect import Detect

    return Detect(**detect_options(job, "cpu"))


def _embed(job: Job) -> Any:
    from pipeline.stages.embed import Embed

    return Embed(**embed_options(job, "cpu"))


def batches(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the rows of tables again, so many at a time."""
    waiting: list[pa.Table] = []
    for table in tables:
        waiting.append(table)
        while sum(map(len, waiting)) >= rows:
            whole = pa.concat_tables(waiting)
            yield whole.slice(0, rows).combine_chunks()
            waiting = [whole.slice(rows)]
    if sum(map(len, waiting)):
        yield pa.concat_tables(waiting).combine_chunks()


def main() -> None:
    """Do one job."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print is no answer
    job, units, ledger = pickle.load(sys.stdin.buffer)  # noqa: S301  # made by the driver
    if isinstance(ledger, str):  # the folder of a large one
        ledger = Ledger.open(ledger)
    threading.Thread(target=_end_with, args=(sys.stdin.buffer,), daemon=True).start()
    try:
        for result in results(job, units, ledger):
            for row in result.to_pylist():
                _answer(answers, "part", row)
        _answer(answers, "done", {})
    except FacelakeError as error:
        known = type(error).__module__ == errors.__name__
        _answer(answers, "error", [type(error).__name__ if known else "FacelakeError", str(error)])
    except Exception as error:
        import traceback

        traceback.print_exc()
        _answer(answers, "error", ["FacelakeError", str(failed(error))])


def _answer(answers: Any, kind: str, value: Any) -> None:
    answers.write(json.dumps([kind, value]).encode() + b"\n")


def _end_with(driver: BinaryIO) -> None:
    """End this process, in the middle of whatever it does, when the driver is gone."""
    driver.read()
    os._exit(1)


if __name__ == "__main__":
    main()

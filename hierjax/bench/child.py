"""The process of one row: run as a script, so that it imports nothing before the clock starts.

    python -P child.py SPECIFICATION RESULT

Both are JSON files. The specification names the task, the modules whose import belongs to the time
to a first answer, and what the task takes.
"""

import importlib
import json
import os
import sys
import time


def main() -> None:
    """Import what the tool needs, measure, and write the row."""
    specification, result = sys.argv[1:]
    with open(specification) as file:
        task = json.load(file)
    started, cpu_started = time.perf_counter(), time.process_time()
    for module in task["imports"]:
        importlib.import_module(module)
    imported = (time.perf_counter() - started, time.process_time() - cpu_started)
    from hierjax.bench.measure import measure
    from hierjax.bench.row import to_json

    row = to_json(measure(task, imported))
    with open(f"{result}.part", "w") as file:
        file.write(row)
    os.replace(f"{result}.part", result)


if __name__ == "__main__":
    main()

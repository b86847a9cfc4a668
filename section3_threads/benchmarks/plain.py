"""The plain answer: the standard library alone, a thread for each element behind a semaphore.

With the argument `single`, it does the same work without threads, which shows what threads cost.
"""

import json
import logging
import sys
import threading
from typing import Any

logging.basicConfig(filename=sys.argv[2], level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
slots = threading.Semaphore(4)


def process(element: dict[str, Any]) -> None:
    numbers = [int(token) for row in element["data"] for token in row.split()]
    maximum = max(numbers)
    before = sum(numbers) / len(numbers)
    normalised = [number / maximum for number in numbers]
    after = sum(normalised) / len(normalised)
    print("Element", element["id"])
    print("  average before normalisation", before)
    print("  average after normalisation", after)
    print("  size of data", len(numbers))
    logging.info("%s: average before normalisation %s, after %s", element["id"], before, after)  # noqa: LOG015
    logging.info("%s: size of data %s", element["id"], len(numbers))  # noqa: LOG015


def run_in_slot(element: dict[str, Any]) -> None:
    try:
        process(element)
    finally:
        slots.release()


def main() -> None:
    with open(sys.argv[1]) as file:  # noqa: PTH123
        elements = json.load(file)
    if sys.argv[3:] == ["single"]:
        for element in elements.values():
            process(element)
        return
    threads = []
    for element in elements.values():
        slots.acquire()
        thread = threading.Thread(target=run_in_slot, args=(element,))
        thread.start()
        threads.append(thread)
    for thread in threads:
        thread.join()


main()

"""Runs on the replicas' network and makes the HTTP requests that it reads from its standard input.

Rules of this file: the standard library only, for its text is handed to `python -c`. One JSON object a line, in and
out; answers come in any order, with the request's number. It ends when its input does, so it never outlives the driver.
"""

import base64
import http.client
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

AT_ONCE = 8  # enough to be quick, and not a test of load
printing = threading.Lock()


def ask(request: dict[str, Any]) -> dict[str, Any]:
    connection = http.client.HTTPConnection(request["address"], request["port"], timeout=request["timeout"])
    try:
        body = base64.b64decode(request["body"])
        connection.request(request["method"], request["path"], body or None, request["headers"])
        answer = connection.getresponse()
        content = base64.b64encode(answer.read()).decode("ascii")
        return {"status": answer.status, "headers": [*answer.getheaders()], "body": content}
    except (OSError, http.client.HTTPException) as error:
        return {"status": 0, "headers": [], "body": "", "failure": f"{type(error).__name__}: {error}"}
    finally:
        connection.close()


def serve(line: str) -> None:
    request = json.loads(line)
    began = time.monotonic()
    answer = json.dumps({"number": request["number"], "began": began, **ask(request), "ended": time.monotonic()})
    with printing:
        print(answer, flush=True)


def main() -> None:
    print("{}", flush=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line in sys.stdin:
            pool.submit(serve, line)


if __name__ == "__main__":
    main()

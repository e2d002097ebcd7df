"""`python -m services.common.alive`: whether the service of this container answers; exit 0 if it does, else 1.

For those who run the image by itself. It asks the port that VALERIX_PORT names, on this very machine, by no shell.
"""

import http.client
import os
import sys

LIMIT = 3.0  # seconds


def is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):  # nobody there, or somebody who speaks no HTTP
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(int(os.environ["VALERIX_PORT"])) else 1)

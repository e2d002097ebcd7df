"""`python -m services.common.healthcheck`: container health check; exit 0 if the service responds, else 1.

For running the image without Kubernetes. It requests VALERIX_PORT on the loopback interface and needs no shell.
"""

import http.client
import os
import sys

TIMEOUT = 3.0  # seconds


def is_alive(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):  # no listener, or one that does not speak HTTP
        return False
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(0 if is_alive(int(os.environ["VALERIX_PORT"])) else 1)

"""How long a process takes until its first answer, and how large it then is: `python -m benchmarks.startup`."""

# ruff: noqa: E402  # the imports are what is measured

import json
import os
import sys
import time

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")

from django.core.wsgi import get_wsgi_application

_application = get_wsgi_application()

from io import BytesIO


def _first_answer() -> str:
    environ = {
        "REQUEST_METHOD": "GET", "PATH_INFO": "/whoami/", "SERVER_NAME": "testserver", "SERVER_PORT": "443",
        "HTTP_HOST": "testserver", "wsgi.url_scheme": "https", "wsgi.input": BytesIO(), "REMOTE_ADDR": "127.0.0.1",
    }  # fmt: skip
    seen: list[str] = []
    response = _application(environ, lambda status, headers, exc_info=None: seen.append(status))
    b"".join(response)
    response.close()
    return seen[0]


def _resident_kib() -> int:
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))
    except OSError:  # not Linux
        import resource  # noqa: PLC0415  # there on Unix only

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak // 1024 if sys.platform == "darwin" else peak


if __name__ == "__main__":
    status = _first_answer()
    taken = time.process_time() * 1000  # CPU: what else the machine does is not counted
    print(json.dumps({"ms": taken, "kib": _resident_kib(), "status": status, "modules": len(sys.modules)}))

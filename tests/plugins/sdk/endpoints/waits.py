import asyncio
import json
import os
import queue
import socket
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import gevent
import requests
from dify_plugin import Endpoint
from werkzeug import Request, Response


time.sleep(0.01)
IMPORTED = subprocess.check_output(["/bin/echo", "while", "it", "is", "imported"], text=True)


def with_threads():
    found = queue.Queue()
    threads = [
        threading.Thread(target=lambda number=number: (time.sleep(0.01), found.put(number))) for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return sorted(found.get(timeout=20) for _ in threads)


def with_sockets():
    ours, theirs = socket.socketpair()
    threading.Thread(target=lambda: (time.sleep(0.01), theirs.sendall(b"later"))).start()
    ours.settimeout(20)
    return ours.recv(5).decode()


def with_greenlets():
    jobs = [gevent.spawn(lambda number=number: (gevent.sleep(0.01), number)[1]) for number in range(3)]
    gevent.joinall(jobs, timeout=20)
    return [job.value for job in jobs]


async def with_asyncio():
    await asyncio.sleep(0.01)
    return await asyncio.to_thread(os.getpid)


def with_programs():
    code = "import dify_plugin, os, sys; print(sys.prefix, flush=True); os._exit(0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return done.stdout.strip() == sys.prefix


def with_forks():
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def with_requests(url):
    ssl.create_default_context()
    try:
        requests.get(url, timeout=5)
    except requests.exceptions.ConnectionError:
        return "refused"


class WaitsEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        began = time.monotonic()
        time.sleep(0.02)
        found = {
            "imported": IMPORTED,
            "slept": time.monotonic() - began >= 0.02,
            "threads": with_threads(),
            "pool": list(ThreadPoolExecutor(3).map(lambda number: number * 2, range(4))),
            "sockets": with_sockets(),
            "greenlets": with_greenlets(),
            "asyncio": asyncio.run(with_asyncio()),
            "programs": with_programs(),
            "forks": with_forks(),
            "http": [with_requests("http://127.0.0.1:9/"), with_requests("https://example.org/")],
        }
        return Response(json.dumps(found), content_type="application/json")

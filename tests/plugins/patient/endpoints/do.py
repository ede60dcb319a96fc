"""What goes on after the answer, by the path's last part; the body is a map of arguments."""

import json
import os
import threading
import time
from pathlib import Path

from dify_plugin import Endpoint
from werkzeug import Request, Response

SEEN = []
"""What earlier requests have left."""


def say(seconds: float, text: str) -> None:
    """Wait, and print."""
    time.sleep(seconds)
    print(text, flush=True)


def burn() -> None:
    """Use the processor for ever."""
    while True:
        pass


def eat() -> None:
    """Use more and more memory, all of it."""
    taken = []
    while True:
        taken.append(b"x" * 2**20)


def flood() -> None:
    """Print for ever."""
    while True:
        print("x" * 10_000, flush=True)


def afterwards(response: Response, target, file: str | None) -> None:
    """Start a thread that does its worst once the answer is complete, and a file of the plugin is there, if any."""
    closed = threading.Event()
    response.call_on_close(closed.set)
    start(lambda: (closed.wait(), wait_for(file), target()))


def wait_for(file: str | None) -> None:
    """Wait a little, and until there is a file in the plugin's folder."""
    time.sleep(0.01 if file else 0.2)
    while file and not os.path.exists(file):
        time.sleep(0.01)


def start(target, *arguments, daemon: bool = True) -> None:
    """Start a thread."""
    threading.Thread(target=target, args=arguments, daemon=daemon).start()


class Do(Endpoint):
    """All of it in one."""

    def _invoke(self, r: Request, values, settings) -> Response:
        given = r.get_json()
        response = Response(json.dumps(os.getpid()))
        match values["name"]:
            case "later":
                start(say, given["seconds"], given["text"], daemon=given["daemon"])
            case "chain":  # one thread starts the next
                start(lambda: (time.sleep(0.05), start(say, 0.05, given["text"])))
            case "spawn":
                import gevent

                gevent.spawn(say, given["seconds"], given["text"])
            case "stuck":
                import queue

                start(queue.Queue().get)
            case "call":
                start(self._call, given["text"])
            case "fork":
                if os.fork() == 0:
                    os.closerange(3, 1024)
                    say(given["seconds"], "the child is there")
                    os._exit(0)
            case "state":
                SEEN.append(given["text"])
                Path("/tmp", given["text"]).with_suffix(".seen").touch()
                files = sorted(path.stem for path in Path("/tmp").glob("*.seen"))
                response.set_data(json.dumps({"seen": SEEN, "files": files}))
            case "raise":
                SEEN.append("raised")
                raise KeyError("state")
            case "spin":
                begun = time.process_time()
                while time.process_time() - begun < given["seconds"]:
                    pass
            case "burn":
                afterwards(response, burn, given.get("file"))
            case "eat":
                afterwards(response, eat, given.get("file"))
            case "flood":
                afterwards(response, flood, given.get("file"))
        return response

    def _call(self, text: str) -> None:
        time.sleep(0.1)
        answer = self.session.app.chat.invoke(
            app_id="a", query=text, inputs={}, response_mode="blocking", conversation_id=""
        )
        print(answer["answer"], flush=True)

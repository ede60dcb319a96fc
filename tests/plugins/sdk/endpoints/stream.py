import queue
import threading
import time

from dify_plugin import Endpoint
from werkzeug import Request, Response


class StreamEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        pieces = queue.Queue()

        def produce():
            for number in range(5):
                time.sleep(0.01)
                pieces.put(f"piece {number}\n")
            pieces.put(None)

        def generate():
            threading.Thread(target=produce).start()
            while (piece := pieces.get(timeout=30)) is not None:
                yield piece
            yield "x" * 300_000

        return Response(generate(), status=200, content_type="text/plain", headers={"Transfer-Encoding": "chunked"})

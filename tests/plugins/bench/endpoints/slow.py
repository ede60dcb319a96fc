import time
from collections.abc import Iterator, Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Slow(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Answer with as many pieces of 8 bytes as the path says, and with a pause between any two of them."""
        pieces, pause_s = values["pieces"], values["pause_ms"] / 1000

        def generator() -> Iterator[bytes]:
            yield b"a piece\n"
            for _ in range(pieces - 1):
                time.sleep(pause_s)
                yield b"a piece\n"

        return Response(generator(), content_type="text/plain")

"""Never answers, so that its process can be looked at from outside."""

import time

from dify_plugin import Endpoint


class Never(Endpoint):
    def _invoke(self, r, values, settings):
        print("waiting", flush=True)
        while True:
            time.sleep(60)

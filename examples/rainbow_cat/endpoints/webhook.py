"""A receiver of signed JSON: the caller proves that it knows the secret."""

import hashlib
import hmac
import json
from collections.abc import Mapping

from dify_plugin import Endpoint
from werkzeug import Request, Response


class Webhook(Endpoint):
    def _invoke(self, r: Request, values: Mapping, settings: Mapping) -> Response:
        """Check `X-Signature: sha256=<hexadecimal HMAC of the body>`, then the body."""
        body, secret = r.get_data(), settings["webhook_secret"]
        expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
        given = r.headers.get("X-Signature", "")
        if not secret or not hmac.compare_digest(expected.encode(), given.encode()):  # anybody can sign with ""
            return answer(401, {"error": "the signature does not match the body"})
        try:
            event = json.loads(body)
        except ValueError as error:
            return answer(400, {"error": f"the body is not JSON: {error}"})
        fields = sorted(event) if isinstance(event, dict) else []
        print(f"webhook with fields {fields}")  # becomes a log record of this invocation
        return answer(200, {"received": event, "fields": fields})


def answer(status: int, content: dict) -> Response:
    return Response(json.dumps(content), status=status, content_type="application/json")

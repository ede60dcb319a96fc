import logging

from dify_plugin import Endpoint
from dify_plugin.config.logger_format import plugin_logger_handler
from werkzeug import Request, Response

logger = logging.getLogger(__name__)
logger.setLevel(logging.INFO)
logger.addHandler(plugin_logger_handler)


class LogsEndpoint(Endpoint):
    def _invoke(self, r: Request, values, settings) -> Response:
        logger.info("by the handler of the SDK")
        logger.error("an error by the handler")
        logging.getLogger("of.another").warning("by logging")
        print("printed")
        return Response("logged")

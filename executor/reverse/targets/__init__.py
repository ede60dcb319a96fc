"""Those who answer reverse calls over HTTP: Dify's inner API, a Dify daemon, an endpoint of OpenAI's kind."""

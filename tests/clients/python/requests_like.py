"""Requests that no client library sends, with the token and endpoint of one."""

import json
import urllib.error
import urllib.request


def ask(api, method, path, body):
    """Status and JSON of the answer."""
    data = body if isinstance(body, str) else json.dumps(body)
    headers = api._build_hf_headers()
    request = urllib.request.Request(api.endpoint + path, data.encode(), headers, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"{}")

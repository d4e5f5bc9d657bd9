"""LaunchDarkly's own API client for Python: a process that makes the calls it is told on standard input, one JSON line each,
and answers on standard output, one JSON line each. tests/sdk/api_client.rs is the other end, and says what the lines mean."""

import json
import platform
import sys
from importlib.metadata import version

import launchdarkly_api
from launchdarkly_api import ApiClient, ApiException, Configuration, PatchWithComment

SEMANTIC_PATCH = "application/json; domain-model=launchdarkly.semanticpatch"


class SemanticPatch(PatchWithComment):
    """The client has the call for a semantic patch, and no model of it."""

    patch: list = []
    body: dict

    def to_dict(self):
        return self.body


def call(asked):
    configuration = Configuration(host=asked["url"], api_key={"ApiKey": asked["token"]}, retries=0)
    with ApiClient(configuration) as client:
        method = getattr(getattr(launchdarkly_api, asked["api"])(client), asked["method"] + "_with_http_info")
        arguments = dict(asked["arguments"])
        for name, body in asked.get("models", {}).items():
            arguments[name] = getattr(launchdarkly_api, body["type"]).from_dict(body["value"])
        if "semanticPatch" in asked:
            arguments.update(patch_with_comment=SemanticPatch(body=asked["semanticPatch"]), _content_type=SEMANTIC_PATCH)
        # The client has a version of its own for every call.
        client.set_default_header("LD-API-Version", asked["version"])
        try:
            answer = method(**arguments, _request_timeout=20.0)
        except ApiException as refusal:
            return {
                "exception": type(refusal).__name__,
                "status": refusal.status,
                "headers": {name.lower(): value for name, value in (refusal.headers or {}).items()},
                "raw": json.loads(refusal.body) if refusal.body else None,
            }
    return {
        "status": answer.status_code,
        "headers": {name.lower(): value for name, value in (answer.headers or {}).items()},
        "type": type(answer.data).__name__,
        "parsed": answer.data.to_dict() if answer.data is not None else None,
        "raw": json.loads(answer.raw_data) if answer.raw_data else None,
    }


def say(answer):
    print(json.dumps(answer, default=str), flush=True)


def main():
    say({"client": f"launchdarkly-api {version('launchdarkly-api')}", "runtime": f"Python {platform.python_version()}"})
    for line in sys.stdin:
        try:
            say(call(json.loads(line)))
        except Exception as error:  # Above all: an answer that the client's models do not take.
            say({"error": f"{type(error).__name__}: {error}"})


main()

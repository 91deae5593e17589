"""What API Gateway answers by itself, as problem documents: one table for the template and for the local stack."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GatewayResponse:
    """An answer that the gateway makes by itself: a status, what it says, and headers beyond the content type."""

    status: int
    title: str
    detail: str
    headers: Headers = ()

    def problem(self) -> str:
        """The body, RFC 9457."""
        said = {"type": "about:blank", "title": self.title, "status": self.status, "detail": self.detail}
        return json.dumps(said)


_NOT_FOUND = GatewayResponse(404, "Not Found", "There is nothing at this path for this method.")
_BROKEN = GatewayResponse(502, "Bad Gateway", "The service failed to answer.")
_NO_VERDICT = GatewayResponse(
    503, "Service Unavailable", "The API key could not be checked. Ask again in a moment.", (("Retry-After", "5"),)
)

# By the gateway response types of AWS. Without these a caller would see {"message": "Missing Authentication Token"};
# an unknown path is INVALID_SIGNATURE there when it comes with an Authorization header.
GATEWAY_RESPONSES: Mapping[str, GatewayResponse] = {
    "MISSING_AUTHENTICATION_TOKEN": _NOT_FOUND,
    "INVALID_SIGNATURE": _NOT_FOUND,
    "RESOURCE_NOT_FOUND": _NOT_FOUND,
    "BAD_REQUEST_PARAMETERS": GatewayResponse(400, "Bad Request", "The request's parameters are malformed."),
    "BAD_REQUEST_BODY": GatewayResponse(400, "Bad Request", "The request's body is malformed."),
    "UNAUTHORIZED": GatewayResponse(
        401, "Unauthorized", "Send a valid API key: Authorization: Bearer pp_...", (("WWW-Authenticate", "Bearer"),)
    ),
    "ACCESS_DENIED": GatewayResponse(403, "Forbidden", "This API key may not do that."),
    "REQUEST_TOO_LARGE": GatewayResponse(413, "Content Too Large", "The request's body is too large."),
    "UNSUPPORTED_MEDIA_TYPE": GatewayResponse(415, "Unsupported Media Type", "Send application/json."),
    "THROTTLED": GatewayResponse(429, "Too Many Requests", "Too many requests at once.", (("Retry-After", "1"),)),
    "AUTHORIZER_FAILURE": _NO_VERDICT,
    "AUTHORIZER_CONFIGURATION_ERROR": _NO_VERDICT,
    "INTEGRATION_FAILURE": _BROKEN,
    "INTEGRATION_TIMEOUT": GatewayResponse(504, "Gateway Timeout", "The service did not answer in time."),
    "DEFAULT_5XX": _BROKEN,
}


def template_responses(headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`GatewayResponses` of an AWS::Serverless::Api with these answers; `headers` (literal values) go on each."""
    return {
        kind: {
            # DEFAULT_5XX stands for several statuses, which stay what they are.
            **({} if kind == "DEFAULT_5XX" else {"StatusCode": made.status}),
            "ResponseParameters": {
                "Headers": {
                    name: f"'{value}'"
                    for name, value in (
                        ("Content-Type", "application/problem+json"),
                        *made.headers,
                        *(headers or {}).items(),
                    )
                }
            },
            "ResponseTemplates": {"application/json": made.problem()},
        }
        for kind, made in GATEWAY_RESPONSES.items()
    }

"""The description of the REST interface for programs: an OpenAPI 3.1 document.

Rules of this file: written by hand and complete: every route, method, header and status that a client can meet is
here, and a test holds it against the routes. Only data and small functions that spare repetition.
"""

from __future__ import annotations

from camomile_trio.config import LEAST_LEASE, MAX_LEASE, MOST_EXPECTED
from camomile_trio.http.documents import Json
from camomile_trio.http.problems import PROBLEM_TYPE

_Object = dict[str, Json]

_TEXT_BODY: _Object = {"schema": {"type": "string"}}
_BINARY_BODY: _Object = {}  # any bytes (OpenAPI 3.1 §4.8.14.3: no schema for binary)

_HEADERS: _Object = {
    "Location": {"description": "The path of the value: / and its key.", "schema": {"type": "string"}},
    "Camomile-Replicas": {
        "description": "How many holders had acknowledged when this was answered.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Camomile-Durable": {
        "description": "How many of these had handed it to their operating system or disk.",
        "schema": {"type": "integer", "minimum": 0},
    },
    "Camomile-Expires": {
        "description": "When the lease that stands ends (an HTTP date); absent when it is kept until forgotten.",
        "schema": {"type": "string"},
    },
    "Camomile-Publishers": {
        "description": "How many others still publish the value; absent when nobody does.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "Origin": {
        "description": "The id of the node that the value came from.",
        "schema": {"$ref": "#/components/schemas/Id"},
    },
    "ETag": {"description": "The key, in quotes.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds to wait before a repetition.", "schema": {"type": "integer"}},
    "WWW-Authenticate": {"description": "Names the Bearer scheme.", "schema": {"type": "string"}},
}

_PROBLEMS = {
    "400": "The key is not 64 hexadecimal digits, there is no value or an empty one, or the request is broken.",
    "401": "The bearer token is missing or wrong (only where the node asks for one).",
    "403": "A web page of another site sent the request, it names a host that this node is not known as, only others "
    "published the value that is to be forgotten, or the node has no token, which a reload needs.",
    "404": "No node that was asked has the value.",
    "408": "The body did not come to its end in time.",
    "409": "The holders keep as many publishers of this key as they may.",
    "410": "The value was there and has been forgotten.",
    "413": "The value is too large; nothing was stored.",
    "415": "The body has a Content-Encoding; nothing was stored.",
    "500": "A mistake or trouble of the node itself, such as a broken network key file.",
    "503": "Not joined yet, no majority, no node answered, or overloaded: too many requests, or bytes, at once. It is "
    "safe to repeat the request.",
    "507": "A majority of the holders is full.",
}
_PROBLEM_HEADERS = {"401": "WWW-Authenticate", "503": "Retry-After"}


def openapi_document(version: str) -> _Object:
    """The document, for a node of this version of the package."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Camomile",
            "version": version,
            "summary": "A leaderless store of content-addressed values.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [
            {"name": "values", "description": "Put, get and forget."},
            {"name": "operation", "description": "About this one node."},
        ],
        "paths": {
            "/": {"post": _put(), "get": _front_page()},
            "/{key}": {
                "parameters": [{"$ref": "#/components/parameters/Key"}],
                "get": _get("getValue", "Get a value.", with_body=True),
                "head": _get("headValue", "Ask for a value without its bytes.", with_body=False),
                "delete": _forget(),
            },
            "/-/healthy": {"get": _operation("healthy", "Whether this server runs.", _plain("It does."))},
            "/-/ready": {"get": _operation("ready", "Whether the node has joined.", _plain("It has."), "503")},
            "/-/node": {"get": _operation("node", "This node at one moment.", _json("The node.", "Node"))},
            "/-/peers": {
                "get": _operation("peers", "The nodes in this node's routing table.", _json("The nodes.", "Peers"))
            },
            "/-/reload": {"post": _reload()},
            "/-/metrics": {"get": _operation("metrics", "Counters for Prometheus.", _plain("Its text format."))},
            "/-/openapi.json": {"get": _operation("openapi", "This document.", _json("OpenAPI 3.1."))},
        },
        "components": {
            "schemas": _schemas(),
            "parameters": {
                "Key": {
                    "name": "key",
                    "in": "path",
                    "required": True,
                    "description": "The BLAKE2b-256 hash of the value; upper case is accepted.",
                    "schema": {"$ref": "#/components/schemas/Id"},
                }
            },
            "headers": _HEADERS,
            "responses": {_problem_name(status): _problem(status) for status in _PROBLEMS},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "Only where the node asks for one."}
            },
        },
    }


def _put() -> _Object:
    form: _Object = {"schema": {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}}}}
    return {
        "operationId": "putValue",
        "tags": ["values"],
        "summary": "Put a value.",
        "description": "Answered once a majority of the holders acknowledged. The same value has the same key.",
        "security": [{}, {"token": []}],
        "parameters": [
            {
                "name": "Camomile-TTL",
                "in": "header",
                "required": False,
                "description": "Seconds that the value shall live at least: a lease that nobody renews. It never "
                "shortens a life. Without it the value stays until it is forgotten.",
                "schema": {"type": "number", "minimum": LEAST_LEASE, "maximum": MAX_LEASE},
            }
        ],
        "requestBody": {
            "required": True,
            "description": "A form with the field `value`; a body of any other type is the value itself.",
            "content": {
                "multipart/form-data": form,
                "application/x-www-form-urlencoded": form,
                "application/octet-stream": _BINARY_BODY,
            },
        },
        "responses": {
            "202": {
                "description": "Stored. A form's value is sent back, raw bytes are not.",
                "headers": _headers("Location", "Camomile-Replicas", "Camomile-Durable", "Camomile-Expires"),
                "content": {"text/plain": _TEXT_BODY, "application/octet-stream": _BINARY_BODY},
            },
            **_problems("400", "401", "403", "408", "409", "413", "415", "500", "503", "507"),
        },
    }


def _front_page() -> _Object:
    return {
        "operationId": "frontPage",
        "tags": ["operation"],
        "summary": "What this is and how to use it.",
        "responses": {
            "200": {
                "description": "A page for browsers, a text for other clients.",
                "content": {"text/html": _TEXT_BODY, "text/plain": _TEXT_BODY},
            },
            **_problems("403", "500"),
        },
    }


def _get(operation_id: str, summary: str, *, with_body: bool) -> _Object:
    found: _Object = {"description": "Found.", "headers": _headers("Origin", "ETag")}
    if with_body:
        found["content"] = {"text/plain": _TEXT_BODY, "application/octet-stream": _BINARY_BODY}
    return {
        "operationId": operation_id,
        "tags": ["values"],
        "summary": summary,
        "parameters": [
            {
                "name": "If-None-Match",
                "in": "header",
                "required": False,
                "description": "Entity tags that the client has; 304 if the value's is one of them.",
                "schema": {"type": "string"},
            }
        ],
        "responses": {
            "200": found,
            "304": {"description": "Found live, and the client has it.", "headers": _headers("Origin", "ETag")},
            **_problems("400", "403", "404", "410", "500", "503"),
        },
    }


def _forget() -> _Object:
    return {
        "operationId": "forgetValue",
        "tags": ["values"],
        "summary": "Forget a value, in the whole network.",
        "description": "Answered once a majority of the holders has the tombstone; the same again on repeats.",
        "security": [{}, {"token": []}],
        "responses": {
            "204": {"description": "Forgotten.", "headers": _headers("Camomile-Publishers")},
            **_problems("400", "401", "403", "404", "500", "503"),
        },
    }


def _reload() -> _Object:
    expect: _Object = {"expect": {"type": ["integer", "null"], "minimum": 1, "maximum": MOST_EXPECTED}}
    problems = ("400", "401", "403", "408", "413", "415", "500", "503")
    return {
        "operationId": "reload",
        "tags": ["operation"],
        "summary": "Read the network key file again.",
        "description": "Only of a node that has a token. `expect` changes --expect for as long as the node runs.",
        "security": [{"token": []}],
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"type": "object", "properties": expect}}},
        },
        "responses": {"200": _json("What has changed.", "Reloaded"), **_problems(*problems)},
    }


def _operation(operation_id: str, summary: str, answer: _Object, *problems: str) -> _Object:
    return {
        "operationId": operation_id,
        "tags": ["operation"],
        "summary": summary,
        "responses": {"200": answer, **_problems(*problems, "403", "500")},
    }


def _plain(description: str) -> _Object:
    return {"description": description, "content": {"text/plain": _TEXT_BODY}}


def _json(description: str, schema: str = "") -> _Object:
    body: Json = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    return {"description": description, "content": {"application/json": {"schema": body}}}


def _headers(*names: str) -> _Object:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _problem_name(status: str) -> str:
    return f"Problem{status}"


def _problems(*statuses: str) -> _Object:
    return {status: {"$ref": f"#/components/responses/{_problem_name(status)}"} for status in statuses}


def _problem(status: str) -> _Object:
    response: _Object = {
        "description": _PROBLEMS[status],
        "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _PROBLEM_HEADERS:
        response["headers"] = _headers(_PROBLEM_HEADERS[status])
    return response


def _schemas() -> _Object:
    text: _Object = {"type": "string"}
    number: _Object = {"type": "integer", "minimum": 0}
    public_key: _Object = {
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
        "description": "The public key that the node is: its hash is the id, and --join HOST:PORT#KEY takes it.",
    }
    fingerprint: _Object = {
        "type": "string",
        "pattern": "^[0-9a-f]{8}$",
        "description": "Of a network key; it tells nothing of the key.",
    }
    fingerprints: _Object = {"type": "array", "items": fingerprint}
    maybe_number: _Object = {"type": ["integer", "null"]}
    maybe_text: _Object = {"type": ["string", "null"]}
    maybe_seconds: _Object = {"type": ["number", "null"], "minimum": 0}
    return {
        "Id": {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"},
        "Problem": {
            "description": "A problem document (RFC 9457).",
            "type": "object",
            "required": ["type", "title", "status", "detail", "remedy"],
            "properties": {
                "type": {"type": "string", "format": "uri"},
                "title": text,
                "status": {"type": "integer", "minimum": 400, "maximum": 599},
                "detail": {"type": "string", "description": "One line: what went wrong."},
                "remedy": {"type": "string", "description": "One line: what to do about it."},
            },
        },
        "Node": _closed_object(
            {
                "id": {"$ref": "#/components/schemas/Id"},
                "node_key": public_key,
                "endpoint": text,
                "advertised": maybe_text,
                "observed": maybe_text,
                "network": text,
                "closed": {"type": "boolean", "description": "Whether only nodes that have a network key may join."},
                "network_keys": {
                    "type": "array",
                    "description": "The accepted ones, the one that is sent under first; none in an open network.",
                    "items": _closed_object({"fingerprint": fingerprint, "sessions": number}),
                },
                "classic": {"type": "boolean", "description": "Whether it speaks with classic nodes."},
                "version": text,
                "ready": {"type": "boolean"},
                "not_ready_because": text,
                "uptime": {"type": "number", "minimum": 0, "description": "Seconds."},
                "contacts": number,
                "classic_contacts": {**number, "description": "Classic nodes that it knows, beside its contacts."},
                "source_networks": {
                    **number,
                    "description": "Of its contacts' public, untrusted addresses; with 1 to 4 all nodes count.",
                },
                "buckets": {
                    "type": "array",
                    "items": _closed_object({"index": number, "contacts": number, "replacements": number}),
                },
                "keys": number,
                "values": number,
                "cached": number,
                "bytes": number,
                "max_bytes": number,
                "publisher": {"type": "string", "pattern": "^[0-9a-f]*$"},
            }
        ),
        "Reloaded": _closed_object(
            {
                "added": fingerprints,
                "promoted": {**fingerprint, "type": ["string", "null"]},
                "removed": fingerprints,
                "sessions_ended": number,
                "expect_before": maybe_number,
                "expect": maybe_number,
            }
        ),
        "Peers": _closed_object(
            {
                "peers": {
                    "type": "array",
                    "items": _closed_object(
                        {
                            "id": {"$ref": "#/components/schemas/Id"},
                            "node_key": public_key,
                            "endpoint": text,
                            "round_trip": {**maybe_seconds, "description": "The usual time to an answer, in seconds."},
                            "last_seen": {**maybe_seconds, "description": "Seconds since its latest answer."},
                            "answers": {"type": "boolean", "description": "Whether it answered the last request."},
                            "network_key": {
                                **fingerprint,
                                "type": ["string", "null"],
                                "description": "The fingerprint of the network key that its session is under.",
                            },
                        }
                    ),
                }
            }
        ),
    }


def _closed_object(properties: _Object) -> _Object:
    """An object that always has all of these members."""
    return {"type": "object", "required": list(properties), "properties": properties}

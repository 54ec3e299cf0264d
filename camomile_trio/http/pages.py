"""What `GET /` answers: a page for browsers, a text for everything else.

Rules of this file: constant texts. The page runs no script and loads nothing, and its policy forbids both.
"""

from __future__ import annotations

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"

TEXT = """\
This is a node of Camomile, a leaderless store of content-addressed values.
Put a value in through any node; its BLAKE2b-256 hash is its key; get it from any other node.

  curl -iF 'value=hello' http://127.0.0.1:8080/                         put a text: 202, Location: /KEY
  curl -i --data-binary @FILE -H 'Content-Type: application/octet-stream' http://127.0.0.1:8080/
                                                                        put bytes as they are
  curl -i http://127.0.0.1:8080/KEY                                     get: 200, or 404, or 410 once forgotten
  curl -iX DELETE http://127.0.0.1:8080/KEY                             forget: 204

  /-/healthy   200 while this server runs        /-/node           this node, as JSON
  /-/ready     200 once it has joined            /-/peers          the nodes that it knows, as JSON
  /-/metrics   its counters, for Prometheus      /-/openapi.json   this interface, for programs
"""

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Camomile</title>
<style>
  body { max-width: 46rem; margin: 3rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color: #222; }
  pre { padding: .75rem 1rem; overflow-x: auto; background: #f4f4ef; }
  td { padding: .15rem 1.5rem .15rem 0; vertical-align: top; }
  @media (prefers-color-scheme: dark) { body { background: #1b1b1a; color: #ddd; } pre { background: #2a2a28; }
    a { color: #9bc; } }
</style>
<h1>Camomile</h1>
<p>This is a node of Camomile, a leaderless, self-healing store of content-addressed values. Put a value in through
any node; its BLAKE2b-256 hash is its key; get it from any other node; forget it, and the whole network forgets it.</p>
<h2>How to use it</h2>
<pre>curl -iF 'value=hello' http://127.0.0.1:8080/     # put: 202, Location: /KEY
curl -i http://127.0.0.1:8080/KEY                 # get: 200, or 404, or 410 once forgotten
curl -iX DELETE http://127.0.0.1:8080/KEY         # forget: 204
curl -i --data-binary @FILE -H 'Content-Type: application/octet-stream' http://127.0.0.1:8080/</pre>
<h2>What else is here</h2>
<table>
<tr><td><a href="/-/node">/-/node</a></td><td>this node, as JSON</td></tr>
<tr><td><a href="/-/peers">/-/peers</a></td><td>the nodes that it knows, as JSON</td></tr>
<tr><td><a href="/-/metrics">/-/metrics</a></td><td>its counters, for Prometheus</td></tr>
<tr><td><a href="/-/healthy">/-/healthy</a></td><td>200 while this server runs</td></tr>
<tr><td><a href="/-/ready">/-/ready</a></td><td>200 once the node has joined its network</td></tr>
<tr><td><a href="/-/openapi.json">/-/openapi.json</a></td><td>this interface, for programs</td></tr>
</table>
</html>
"""

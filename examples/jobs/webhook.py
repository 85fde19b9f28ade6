#!/usr/bin/env python3
"""Executes runs that pgbraid sends as webhooks: python3 webhook.py PORT SECRET"""
import hashlib
import hmac
import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT, SECRET = int(sys.argv[1]), sys.argv[2].encode()


def is_genuine(header, body):
    """x-pgbraid-signature is "t=<seconds>,v1=<HMAC-SHA-256 of "<seconds>.<body>">"; it is good for five minutes."""
    said = dict(part.split("=", 1) for part in header.split(",") if "=" in part)
    right = hmac.new(SECRET, said.get("t", "").encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(right, said.get("v1", "")) and abs(time.time() - int(said["t"])) < 300


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not is_genuine(self.headers.get("x-pgbraid-signature", ""), body):
            return self.answer(401, "wrong signature")
        run = json.loads(body)
        print("run", run["run"], "of job", run["job"], run["payload"], flush=True)
        return self.answer(200, f"done: {run['job']}")  # another status than 2xx fails the run

    def answer(self, status, text):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", PORT), Handler).serve_forever()

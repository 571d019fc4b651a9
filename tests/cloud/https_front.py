"""A web server that demands client certificates: AWS IoT Core's HTTPS publish, or a plain one.

https_front.py --port P --directory DIR --log FILE [--faults FILE]
               (--broker SOCKET [--credentials [--lifetime FILE]] | --plain)

DIR holds ca.pem, server.pem and server.key. With --broker it is AWS's POST /topics/TOPIC: it
publishes as the certificate's owner, and the broker's plugin says whether that is allowed. With
--credentials it is AWS's credential provider, too, GET /role-aliases/ALIAS/credentials; FILE of
--lifetime holds for how many seconds they are good. --plain answers each POST with what it got, as
JSON. FILE of --log gets one line a request: "PORT-OF-CLIENT METHOD PATH STATUS". FILE of --faults
holds what goes wrong, one line a request: a status, drop, stall, "say JSON", "long STATUS", cut
(within the answer), or "redirect URL"; ok lets one through.
"""

import argparse
import base64
import datetime
import hashlib
import http.server
import json
import os
import re
import socketserver
import ssl
import subprocess
import threading
import urllib.parse
import uuid

MAX_PAYLOAD = 128 * 1024
PROPERTIES = {"contentType": "content-type", "responseTopic": "response-topic",
              "messageExpiry": "message-expiry-interval"}
QUERY = {"qos", "retain", *PROPERTIES}

DATA_ALPN = "x-amzn-http-ca"  # of the data endpoint's HTTPS on port 443


class Refused(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def base64_header(headers, name):
    value = headers.get(name)
    if value is None:
        return None
    try:
        return base64.b64decode(value, validate=True).decode()
    except ValueError as error:
        raise Refused(400, name + " is no base64") from error


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def common_name(self):
        subject = self.connection.getpeercert()["subject"]
        return dict(pair for part in subject for pair in part)["commonName"]

    def fault(self):
        with self.server.lock:
            try:
                with open(self.server.faults) as file:
                    lines = file.read().splitlines()
            except (OSError, TypeError):
                return None
            if not lines:
                return None
            with open(self.server.faults + ".new", "w") as file:
                file.write("".join(line + "\n" for line in lines[1:]))
            os.replace(self.server.faults + ".new", self.server.faults)
            return None if lines[0] == "ok" else lines[0]

    def answer(self, status, document, headers=(), length=None):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        with self.server.lock, open(self.server.log, "a") as log:
            log.write(f"{self.client_address[1]} {self.command} {self.path} {status}\n")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def went_wrong(self):
        """Does what the next line of the faults says; whether there was one."""
        fault = self.fault()
        if fault == "drop":
            self.close_connection = True
            return True
        if fault == "stall":
            self.server.ending.wait()
            return True
        if fault and fault.startswith("say "):
            self.answer(200, fault.split(" ", 1)[1].encode())
            return True
        if fault and fault.startswith("long "):
            self.answer(int(fault.split()[1]), b"x" * (2 * 1024 * 1024))
            return True
        if fault == "cut":
            self.close_connection = True
            self.answer(200, b"x", length=2)
            return True
        if fault and fault.startswith("redirect "):
            self.answer(307, {"message": "elsewhere"}, [("Location", fault.split(" ", 1)[1])])
            return True
        if fault:
            self.answer(int(fault), {"message": "a fault of the test"})
            return True
        return False

    def do_POST(self):
        payload = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.went_wrong():
            return
        trace = str(uuid.uuid4())
        try:
            if self.server.broker is None:
                self.answer(200, {"path": self.path, "type": self.headers.get("Content-Type"),
                                  "client": self.common_name(), "payload": payload.decode()})
                return
            self.publish(payload)
            self.answer(200, {"message": "OK", "traceId": trace})
        except Refused as refused:
            self.answer(refused.status, {"message": str(refused), "traceId": trace})

    def refuse_method(self):
        self.answer(405, {"message": "Method Not Allowed"})

    do_PUT = do_DELETE = refuse_method

    def do_GET(self):
        if not self.path.startswith("/role-aliases/"):
            self.refuse_method()
            return
        if self.went_wrong():
            return
        trace = str(uuid.uuid4())
        try:
            self.answer(200, {"credentials": self.credentials()})
        except Refused as refused:
            self.answer(refused.status, {"message": str(refused), "traceId": trace})

    def credentials(self):
        match = re.fullmatch("/role-aliases/([^/]+)/credentials", self.path)
        if not self.server.provides_credentials or not match:
            raise Refused(404, "Not Found")  # as AWS's data endpoint says it, too
        thing = self.headers.get("x-amzn-iot-thingname", "")
        alias = urllib.parse.unquote(match.group(1))
        self.tell_broker(["-t", f"$rolealias/{thing}/{alias}"], b"", "Access Denied")
        try:
            with open(self.server.lifetime) as file:
                seconds = int(file.read())
        except (OSError, TypeError):
            seconds = 3600
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
        return {"accessKeyId": "ASIA" + uuid.uuid4().hex[:16].upper(),
                "secretAccessKey": base64.b64encode(os.urandom(30)).decode(),
                "sessionToken": base64.b64encode(os.urandom(600)).decode(),
                "expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def user(self):
        digest = hashlib.sha256(self.connection.getpeercert(True)).hexdigest()
        return f"http:{self.common_name()}#{digest}"

    def tell_broker(self, arguments, payload, refusal):
        """Publishes as the certificate's owner; the broker's plugin says whether that is allowed."""
        command = ["mosquitto_pub", "--unix", self.server.broker, "-V", "5", "-q", "1",
                   "-s" if payload else "-n", "-i", "http-" + uuid.uuid4().hex, "-u", self.user(), *arguments]
        result = subprocess.run(command, input=payload, capture_output=True, timeout=20)
        words = result.stderr.decode()
        if result.returncode != 0 or "ot authori" in words:
            raise Refused(403, refusal)
        if words and "No matching subscribers" not in words:
            raise Refused(500, words.strip())

    def publish(self, payload):
        path, _, query = self.path.partition("?")
        topic = urllib.parse.unquote(path[len("/topics/"):])
        if not path.startswith("/topics/") or not topic:
            raise Refused(404, "Not Found")
        try:
            fields = urllib.parse.parse_qs(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise Refused(400, "bad query") from error
        for name in fields:
            if name not in QUERY:
                raise Refused(400, "unknown parameter " + name)
        qos = fields.get("qos", ["0"])[0]
        if qos not in ("0", "1"):
            raise Refused(400, "Invalid QoS")
        if len(payload) > MAX_PAYLOAD:
            raise Refused(413, "The payload is too large")
        command = ["-t", topic]
        if fields.get("retain", ["false"])[0] == "true":
            command.append("-r")
        for name, wire in PROPERTIES.items():
            if name in fields:
                command += ["-D", "PUBLISH", wire, fields[name][0]]
        correlation = base64_header(self.headers, "x-amz-mqtt5-correlation-data")
        if correlation is not None:
            command += ["-D", "PUBLISH", "correlation-data", correlation]
        user = base64_header(self.headers, "x-amz-mqtt5-user-properties")
        for pair in json.loads(user) if user else []:
            for name, value in pair.items():
                command += ["-D", "PUBLISH", "user-property", name, value]
        self.tell_broker(command, payload, "Forbidden")

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # a client that is refused, or goes away

    def finish_request(self, request, client_address):
        request.do_handshake()  # on the connection's own thread
        if self.provides_credentials and request.selected_alpn_protocol() == DATA_ALPN:
            raise Refused(400, "that ALPN name is of the data endpoint")
        super().finish_request(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--directory", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--faults")
    parser.add_argument("--broker")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--credentials", action="store_true")
    parser.add_argument("--lifetime")
    options = parser.parse_args()
    if bool(options.broker) == options.plain:
        parser.error("one of --broker and --plain")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(os.path.join(options.directory, "ca.pem"))
    context.load_cert_chain(os.path.join(options.directory, "server.pem"),
                            os.path.join(options.directory, "server.key"))
    context.set_alpn_protocols([DATA_ALPN, "http/1.1"])
    server = Server(("127.0.0.1", options.port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
    server.lock = threading.Lock()
    server.ending = threading.Event()
    server.log, server.faults, server.broker = options.log, options.faults, options.broker
    server.provides_credentials, server.lifetime = options.credentials, options.lifetime
    server.serve_forever()


main()

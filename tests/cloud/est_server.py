"""An EST server (RFC 7030, RFC 8951) over real TLS, with a CA of stock openssl. README.md.

est_server.py --directory DIR

It listens on a free port of 127.0.0.1, which it writes to DIR/port. DIR holds server.pem and
server.key (TLS), ca.pem and ca.key (who issues), other.pem and other.key (another CA), clients.pem
(whose client certificates are taken). Read at each request, where they are there:
  users      USER:PASSWORD, a line each: HTTP Basic
  csrattrs   the base64 answer of /csrattrs
  binding    requests must be tied to the TLS connection (section 3.5)
  chain.pem  what cacerts answers (else ca.pem)
  lifetime   "BEGIN END" of what is issued, in seconds from now (default: 0 31536000)
  fixed      "yes": the subject must begin with /O=Example, as a CA's own rule
  faults     what goes wrong, a line each: "OPERATION FAULT"; the first line waits for its operation
  demands    whoever has no certificate is let in by no handshake (read at the start)
  closes     every connection is closed after its answer
FAULT is a status ("503", "503 SECONDS" with Retry-After), "202 SECONDS" (pending), drop (before the
work), lost (after it: the answer does not come), stall, late SECONDS, cut, twice, long, garbage,
text (no base64), empty, wrong-type, signed (PKCS#7 with a signer), no-certificates, other-key,
other-ca, ca-certificate, ended, two, der (no base64), redirect URL, ok.

DIR/log gets a line a request: "OPERATION STATUS user=U client=CN tls=V connection=PORT".
DIR/issued gets the name of each certificate's file, in DIR/certs.
"""

import argparse
import base64
import http.server
import os
import re
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time

PREFIX = "/.well-known/est"
LIMIT = 64 * 1024


class Refused(Exception):
    def __init__(self, status, words, headers=()):
        super().__init__(words)
        self.status = status
        self.headers = headers


def openssl(*arguments, data=None, good=True):
    environment = {**os.environ, "OPENSSL_CONF": "/dev/null"}
    environment.pop("LD_PRELOAD", None)
    result = subprocess.run(("openssl", *arguments), input=data, capture_output=True,
                            env=environment, timeout=60)
    if good and result.returncode != 0:
        raise Refused(400, result.stderr.decode(errors="replace").strip().splitlines()[-1])
    return result


def text(request, what):
    """A part of a PKCS#10 request (DER), as openssl prints it."""
    return openssl("req", "-inform", "DER", "-noout", *what, data=request).stdout.decode()


def alternative_names(printed):
    match = re.search(r"Subject Alternative Name:[^\n]*\n\s*([^\n]*)", printed)
    return match[1].strip() if match else ""


class Authority:
    """Checks requests and issues certificates. One thread at a time."""

    def __init__(self, directory):
        self.directory = directory
        os.makedirs(self.path("certs"), exist_ok=True)
        self.pending = {}

    def path(self, name):
        return os.path.join(self.directory, name)

    def read(self, name):
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return None

    SUBJECTS = {"other-name": ("-subj", "/CN=somebody-else")}

    def issue(self, request, fault):
        if fault == "other-key":
            with tempfile.TemporaryDirectory() as place:
                key = os.path.join(place, "key")
                openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-out", key)
                request = openssl("req", "-new", "-config", self.path("req.cnf"), "-key", key,
                                  "-subj", "/CN=somebody", "-outform", "DER").stdout
        if fault == "same-again":
            return self.read("issued").splitlines()[0]
        ca = "other" if fault == "other-ca" else "ca"
        serial = "%016x" % (time.time_ns() & 0x7fffffffffffffff)
        begin, end = (int(word) for word in (self.read("lifetime") or "0 31536000").split())
        if fault == "ended":
            begin, end = -7200, -3600
        names = alternative_names(text(request, ["-text"]))
        extensions = [
            "basicConstraints=critical,CA:" + ("TRUE" if fault == "ca-certificate" else "FALSE"),
            "keyUsage=critical,digitalSignature", "extendedKeyUsage=clientAuth"]
        if names and fault != "no-names":
            extensions.append("subjectAltName=" + re.sub(r"IP Address:", "IP:", names))
        with tempfile.TemporaryDirectory() as place:
            def inside(name):
                return os.path.join(place, name)
            for name, content in {
                    "index": "", "index.attr": "unique_subject = no\n", "serial": serial + "\n",
                    "cnf": "[ca]\ndefault_ca = d\n[d]\ndatabase = %s\nserial = %s\n"
                           "new_certs_dir = %s\ndefault_md = sha256\npolicy = p\n"
                           "x509_extensions = e\n[p]\ncommonName = optional\n"
                           "organizationName = optional\ncountryName = optional\n[e]\n%s\n" % (
                               inside("index"), inside("serial"), place, "\n".join(extensions)),
            }.items():
                with open(inside(name), "w") as file:
                    file.write(content)
            with open(inside("req"), "wb") as file:
                file.write(request)
            stamp = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + offset))
                     for offset in (begin, end)]
            openssl("ca", "-batch", "-notext", "-config", inside("cnf"), "-preserveDN", "-inform",
                    "DER", "-in", inside("req"), "-cert", self.path(ca + ".pem"), "-keyfile",
                    self.path(ca + ".key"), "-startdate", stamp[0], "-enddate", stamp[1], "-out",
                    inside("cert"), *self.SUBJECTS.get(fault, ()))
            name = self.path(os.path.join("certs", serial + ".pem"))
            os.rename(inside("cert"), name) if os.stat(place).st_dev == os.stat(
                self.directory).st_dev else open(name, "wb").write(open(inside("cert"), "rb").read())
        with open(self.path("issued"), "a") as file:
            file.write(name + "\n")
        return name

    def check_request(self, request, handler, again):
        """RFC 7030, section 4.2.1, and 4.2.2 where it is `again`."""
        verified = openssl("req", "-inform", "DER", "-noout", "-verify", data=request, good=False)
        if verified.returncode != 0 or b"verify OK" not in verified.stderr + verified.stdout:
            raise Refused(400, "the request is not signed by its key")
        printed = text(request, ["-text"])
        self.check_binding(printed, handler)
        subject = text(request, ["-subject", "-nameopt", "RFC2253"]).strip()
        if self.read("fixed") and "O=Example" not in subject:
            raise Refused(400, "this CA issues to O=Example alone")
        if not again:
            return
        current = handler.client_pem()
        of_current = openssl("x509", "-noout", "-subject", "-nameopt", "RFC2253",
                             data=current).stdout.decode()
        if of_current.strip() != subject:
            raise Refused(400, "re-enrolment is for the same subject")
        names = openssl("x509", "-noout", "-text", data=current).stdout.decode()
        if alternative_names(names) != alternative_names(printed):
            raise Refused(400, "re-enrolment is for the same alternative names")

    def check_binding(self, printed, handler):
        """RFC 7030, section 3.5."""
        match = re.search(r"challengePassword\s*:\s*(\S+)", printed)
        if match is None and self.read("binding") is None:
            return
        if match is None:
            raise Refused(400, "the request has no challenge password")
        binding = handler.connection.get_channel_binding("tls-unique")
        if handler.connection.version() == "TLSv1.3" or binding is None:
            raise Refused(400, "TLS 1.3 has no tls-unique")
        if match[1] != base64.b64encode(binding).decode():
            raise Refused(400, "the challenge password is that of another connection")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def client_der(self):
        return self.connection.getpeercert(binary_form=True)

    def client_pem(self):
        return ssl.DER_cert_to_PEM_cert(self.client_der()).encode()

    def client_name(self):
        certificate = self.connection.getpeercert()
        if not certificate:
            return "-"
        subject = dict(pair for part in certificate["subject"] for pair in part)
        return subject.get("commonName", "?")

    def user(self):
        header = self.headers.get("Authorization", "")
        users = self.server.authority.read("users")
        if not header or users is None:
            return None
        scheme, _, value = header.partition(" ")
        try:
            given = base64.b64decode(value, validate=True).decode()
        except ValueError:
            given = ""
        if scheme.lower() != "basic" or given not in users.split("\n") or not given:
            raise Refused(401, "wrong name or password",
                          [("WWW-Authenticate", 'Basic realm="est"')])
        return given.partition(":")[0]

    def authenticate(self, operation):
        """RFC 7030, sections 3.2.3, 3.3.2 and 4.2.2."""
        user = self.user()
        client = self.client_der()
        if operation == "simplereenroll":
            if client is None:
                raise Refused(403, "re-enrolment wants the certificate that is to be renewed")
            verified = openssl("verify", "-CAfile", self.server.authority.path("ca.pem"),
                               data=self.client_pem(), good=False)
            if verified.returncode != 0:
                raise Refused(403, "this CA did not issue that certificate")
        elif client is None and user is None:
            raise Refused(401, "who are you?", [("WWW-Authenticate", 'Basic realm="est"')])
        return user

    def fault(self, operation):
        with self.server.lock:
            lines = (self.server.authority.read("faults") or "").splitlines()
            if not lines or lines[0].split()[0] != operation:
                return "ok"
            new = self.server.authority.path("faults.new")
            with open(new, "w") as file:
                file.write("".join(line + "\n" for line in lines[1:]))
            os.replace(new, self.server.authority.path("faults"))
            return lines[0].split(" ", 1)[1]

    def log(self, operation, status, user):
        with self.server.lock, open(self.server.authority.path("log"), "a") as log:
            log.write(f"{operation} {status} user={user or '-'} client={self.client_name()} "
                      f"tls={self.connection.version()} connection={self.client_address[1]}\n")

    def answer(self, status, body, content_type, headers=(), length=None):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        if self.server.authority.read("closes") is not None:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def certificates(self, files, fault):
        """RFC 7030, section 4.1.3: degenerate PKCS#7 in base64; or what the fault makes of it."""
        kind = "application/pkcs7-mime; smime-type=certs-only"
        names = [word for file in files for word in ("-certfile", file)]
        der = openssl("crl2pkcs7", "-nocrl", "-outform", "DER", *names).stdout
        if fault == "no-certificates":
            der = openssl("crl2pkcs7", "-nocrl", "-outform", "DER").stdout
        if fault == "signed":
            authority = self.server.authority
            der = openssl("smime", "-sign", "-nodetach", "-outform", "DER", "-signer",
                          authority.path("ca.pem"), "-inkey", authority.path("ca.key"),
                          data=b"x").stdout
        if fault == "garbage":
            der = os.urandom(len(der))
        body = base64.encodebytes(der)
        if fault == "text":
            body = b"<html>Welcome!</html>"
        if fault == "der":
            body = der
        if fault == "empty":
            body = b""
        if fault == "long":
            body = b"A" * (4 * 1024 * 1024)
        if fault == "wrong-type":
            kind = "text/html"
        if fault == "cut":
            self.close_connection = True
            self.answer(200, body[:len(body) // 2], kind, length=len(body))
            return
        self.answer(200, body, kind)
        if fault == "twice":
            self.answer(200, body, kind)

    def handle_fault(self, operation, fault):
        """True: the fault is all that happens."""
        word = fault.split()[0]
        if word in ("drop", "stall", "late"):
            if word == "late":
                time.sleep(float(fault.split()[1]))
                return False
            if word == "stall":
                self.server.ending.wait()
            self.close_connection = True
            self.log(operation, word, None)
            return True
        if word == "redirect":
            raise Refused(307, "elsewhere", [("Location", fault.split()[1])])
        if word.isdigit() and word != "202":
            after = fault.split(" ", 1)[1:]
            raise Refused(int(word), "a fault of the test",
                          [("Retry-After", after[0])] if after else [])
        return False

    def run(self, method, body=None):
        operation = self.path[len(PREFIX):].strip("/").split("/")[-1]
        user = None
        try:
            if not self.path.startswith(PREFIX + "/"):
                raise Refused(404, "no EST here")
            fault = self.fault(operation)
            if self.handle_fault(operation, fault):
                return
            wanted = {"cacerts": "GET", "csrattrs": "GET", "simpleenroll": "POST",
                      "simplereenroll": "POST"}.get(operation)
            if wanted is None:
                raise Refused(404, "no such operation")
            if wanted != method:
                raise Refused(405, "wrong method")
            if operation == "cacerts":
                authority = self.server.authority
                chain = "chain.pem" if authority.read("chain.pem") else "ca.pem"
                self.certificates([authority.path(chain)], fault)
            elif operation == "csrattrs":
                self.give_attributes(fault)
            else:
                user = self.authenticate(operation)
                self.enroll(operation, body, fault)
            self.log(operation, 200, user)
        except Refused as refused:
            self.log(operation, refused.status, user)
            words = (str(refused) + "\n").encode() if str(refused) else b""
            self.answer(refused.status, words, "text/plain", refused.headers)

    def give_attributes(self, fault):
        attributes = self.server.authority.read("csrattrs")
        if fault != "ok":
            kind = "text/html" if fault == "wrong-type" else "application/csrattrs"
            body = {"garbage": base64.b64encode(os.urandom(60)), "text": b"<html>",
                    "empty": b""}.get(fault, b"MAA=")
            self.answer(200, body, kind)
        elif attributes is None:
            raise Refused(204, "")
        else:
            self.answer(200, attributes.encode(), "application/csrattrs")

    def enroll(self, operation, body, fault):
        if self.headers.get("Content-Type", "").split(";")[0].strip() != "application/pkcs10":
            raise Refused(415, "application/pkcs10 is expected")
        try:
            request = base64.b64decode(body, validate=False) if b"-----" not in body else None
        except ValueError:
            request = None
        if not request or request[0] != 0x30:
            raise Refused(400, "base64 of a PKCS#10 request is expected")
        authority = self.server.authority
        with self.server.issuing:
            authority.check_request(request, self, operation == "simplereenroll")
            if fault.startswith("202"):
                seconds = fault.split()[1:]
                raise Refused(202, "an operator looks at it",
                              [("Retry-After", seconds[0])] if seconds else [])
            files = [authority.issue(request, fault)]
            if fault == "two":
                time.sleep(0.01)
                files.append(authority.issue(request, fault))
        if fault == "lost":
            self.close_connection = True
            return
        self.certificates(files, fault)

    def do_GET(self):
        self.run("GET")

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        if length > LIMIT:
            self.close_connection = True
            self.answer(413, b"too long\n", "text/plain")
            self.rfile.read(min(length, 16 * LIMIT))  # else a reset may overtake the answer
            return
        self.run("POST", self.rfile.read(length))

    def log_message(self, *_):
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass  # a client that is refused, or goes away

    def finish_request(self, request, client_address):
        request.do_handshake()  # on the connection's own thread
        super().finish_request(request, client_address)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--directory", required=True)
    options = parser.parse_args()

    def path(name):
        return os.path.join(options.directory, name)
    with open(path("req.cnf"), "w") as file:
        file.write("[req]\ndistinguished_name = dn\n[dn]\n")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = (ssl.CERT_REQUIRED if os.path.exists(path("demands"))
                           else ssl.CERT_OPTIONAL)
    context.load_verify_locations(path("clients.pem"))
    context.load_cert_chain(path("server.pem"), path("server.key"))
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True,
                                        do_handshake_on_connect=False)
    server.lock = threading.Lock()
    server.issuing = threading.Lock()
    server.ending = threading.Event()
    server.authority = Authority(options.directory)
    with open(path("port.new"), "w") as file:
        file.write(str(server.server_address[1]))
    os.replace(path("port.new"), path("port"))
    server.serve_forever()


main()

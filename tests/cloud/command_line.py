"""What the guide says to the clouds' own command lines, for the stand-ins: command_line.py aws|az ...

Knows the subcommands and options that the guide uses and refuses all others, as argparse does.
CLOUD_DIR is the stand-in's directory. What was made is in command_line.json there.
"""
import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile

DIRECTORY = os.environ["CLOUD_DIR"]
STATE = os.path.join(DIRECTORY, "command_line.json")
ACCOUNT = "123456789012"
ID_SCOPE = "0ne00000000"  # of stand_in.cpp


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def load_state():
    if os.path.exists(STATE):
        return json.loads(read(STATE))
    return {"policies": {}, "certificates": {}, "authorities": {}}


def save_state(state):
    with open(STATE, "w", encoding="utf-8") as file:
        json.dump(state, file, indent=1)


def file_url(text):
    if not text.startswith("file://"):
        sys.exit(f"aws: {text}: file://PATH is meant")
    return read(text[len("file://"):])


def openssl(*arguments, text=None):
    """Of the system, with its own configuration: the cloud knows nothing of the device's."""
    environment = {name: value for name, value in os.environ.items()
                   if name not in ("OPENSSL_CONF", "OPENSSL_MODULES")}
    done = subprocess.run(["openssl", *arguments], input=text, capture_output=True, text=True,
                          env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"openssl {arguments[0]}: {done.stderr}")
    return done.stdout


def create_policy(options, state):
    document = json.loads(file_url(options.policy_document))
    enforced = [json.loads(read(os.path.join(DIRECTORY, name)))
                for name in ("policy.json", "claim-policy.json")]
    if document not in enforced:
        sys.exit("aws: the stand-in was not started with this policy: " + json.dumps(document))
    state["policies"][options.policy_name] = document
    print(json.dumps({"policyName": options.policy_name}, indent=4))


def create_certificate(options, state):
    request = file_url(options.certificate_signing_request)
    openssl("req", "-verify", "-noout", text=request)
    with tempfile.NamedTemporaryFile("w", suffix=".ext") as extensions:
        extensions.write("basicConstraints=critical,CA:FALSE\nextendedKeyUsage=clientAuth\n"
                         "keyUsage=critical,digitalSignature\n")
        extensions.flush()
        pem = openssl("x509", "-req", "-CA", os.path.join(DIRECTORY, "ca.pem"), "-CAkey",
                      os.path.join(DIRECTORY, "ca.key"), "-days", "30", "-set_serial",
                      "0x4" + os.urandom(15).hex(), "-extfile", extensions.name, text=request)
    identity = hashlib.sha256(pem.encode()).hexdigest()
    arn = f"arn:aws:iot:eu-central-1:{ACCOUNT}:cert/{identity}"
    state["certificates"][arn] = {"active": options.set_as_active, "policies": []}
    if options.certificate_pem_outfile:
        with open(options.certificate_pem_outfile, "w", encoding="utf-8") as file:
            file.write(pem)
    print(json.dumps({"certificateArn": arn, "certificateId": identity, "certificatePem": pem},
                     indent=4))


def attach_policy(options, state):
    if options.policy_name not in state["policies"]:
        sys.exit(f"aws: there is no policy {options.policy_name}")
    if options.target not in state["certificates"]:
        sys.exit(f"aws: there is no certificate {options.target}")
    state["certificates"][options.target]["policies"].append(options.policy_name)


def describe_endpoint(options, _state):
    if options.endpoint_type != "iot:Data-ATS":
        sys.exit("aws: devices want iot:Data-ATS")
    print(json.dumps({"endpointAddress": "localhost"}, indent=4))


def dps_certificate(options, state):
    if options.verified != "true":
        sys.exit("az: the stand-in does not prove possession of a CA's key")
    openssl("x509", "-noout", "-in", options.path)
    state["authorities"][options.certificate_name] = os.path.abspath(options.path)


def dps_group(options, state):
    if options.root_ca_name not in state["authorities"]:
        sys.exit(f"az: there is no CA {options.root_ca_name}")
    path = state["authorities"][options.root_ca_name]
    name = openssl("x509", "-noout", "-hash", "-in", path).strip() + ".0"
    os.symlink(path, os.path.join(DIRECTORY, "authorities", name))


def dps_show(options, _state):
    if options.query != "properties.idScope" or options.output != "tsv":
        sys.exit("az: the stand-in shows the id scope only")
    print(ID_SCOPE)


COMMANDS = {
    "aws iot create-policy": (create_policy, ["policy-name", "policy-document"], []),
    "aws iot create-certificate-from-csr":
        (create_certificate, ["certificate-signing-request"],
         ["certificate-pem-outfile", "set-as-active!"]),
    "aws iot attach-policy": (attach_policy, ["policy-name", "target"], []),
    "aws iot describe-endpoint": (describe_endpoint, ["endpoint-type"], []),
    "az iot dps certificate create":
        (dps_certificate,
         ["dps-name", "resource-group", "certificate-name", "path", "verified"], []),
    "az iot dps enrollment-group create":
        (dps_group, ["dps-name", "resource-group", "enrollment-id", "root-ca-name"], []),
    "az iot dps show": (dps_show, ["name", "resource-group"], ["query", "output"]),
}


def main():
    words = sys.argv[1:]
    for command, (run, required, others) in COMMANDS.items():
        names = command.split()
        if words[:len(names)] != names:
            continue
        parser = argparse.ArgumentParser(prog=command, allow_abbrev=False)
        for name in required:
            parser.add_argument("--" + name, required=True)
        for name in others:
            action = "store_true" if name.endswith("!") else "store"
            parser.add_argument("--" + name.rstrip("!"), action=action)
        state = load_state()
        run(parser.parse_args(words[len(names):]), state)
        save_state(state)
        return
    sys.exit("the stand-in does not know: " + " ".join(words))


main()

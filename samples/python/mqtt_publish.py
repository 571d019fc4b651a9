#!/usr/bin/env python3
"""Publishes a message over MQTT with a key in hardware, by paho-mqtt (1.6 or 2):

    OPENSSL_CONF=/etc/hwid/openssl.cnf python3 mqtt_publish.py HOST[:PORT] CA CERT KEY TOPIC MESSAGE

KEY is the file that stands for the key: `hwid ref hwid://device --out key.pem` writes it. It holds no
secret. A program that runs for long signs anew at each reconnect, which paho does by itself.
"""

import sys

import paho.mqtt.client as mqtt


def new_client():
    if hasattr(mqtt, "CallbackAPIVersion"):  # paho-mqtt 2
        return mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    return mqtt.Client()


def main():
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    address, ca, cert, key, topic, message = sys.argv[1:]
    host, _, port = address.partition(":")
    client = new_client()
    client.tls_set(ca_certs=ca, certfile=cert, keyfile=key)
    client.connect(host, int(port or 8883))
    client.loop_start()
    sent = client.publish(topic, message, qos=1)
    sent.wait_for_publish(30)
    client.disconnect()
    client.loop_stop()
    if not sent.is_published():
        sys.exit(f"{address}: the broker did not confirm the message")


if __name__ == "__main__":
    main()

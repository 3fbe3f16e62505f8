"""Devices that publish a message of MQTT_SIZE bytes every MQTT_PERIOD seconds with QoS 1."""

import glob
import itertools
import os
import random
import sys
import time

# The wheel of paho-mqtt in the bundle; see the README.
sys.path[:0] = glob.glob(os.path.join(os.path.dirname(os.path.abspath(__file__)), "paho_mqtt-*.whl"))

from locust import constant_pacing, task
from locust.contrib.mqtt import MqttClient, MqttUser

PERIOD = float(os.environ.get("MQTT_PERIOD", "15"))
PAYLOAD = "x" * int(os.environ.get("MQTT_SIZE", "100"))
WORKER = os.environ.get("ATQ_REPLICA", "1")
numbers = itertools.count()


class Client(MqttClient):
    def _generate_event_name(self, event_type, qos, topic):
        """One label for all devices."""
        return event_type


class Device(MqttUser):
    host = os.environ.get("MQTT_HOST", "localhost")
    port = int(os.environ.get("MQTT_PORT", "1883"))
    client_cls = Client
    # select() fails for descriptors above 1023.
    use_loop_selectors = True
    wait_time = constant_pacing(PERIOD)

    def __init__(self, environment):
        self.device = f"{WORKER}-{next(numbers)}"
        self.client_id = f"locust-{self.device}"
        super().__init__(environment)

    def on_start(self):
        # The first message at a random phase of the period.
        time.sleep(random.uniform(0, PERIOD))

    def on_stop(self):
        self.client.disconnect()

    @task
    def publish(self):
        self.client.publish(f"devices/{self.device}/attrs", PAYLOAD, qos=1)

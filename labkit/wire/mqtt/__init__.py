"""MQTT 3.1.1 as IoT Hub and DPS speak it: a codec, a session, and the two services on it."""

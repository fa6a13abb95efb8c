"""Sockets, TLS, MQTT and HTTPS. Nothing is decided here: bytes become typed requests for
``cloud``, and its answers become bytes."""

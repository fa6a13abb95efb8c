"""HTTP/1.1 on a TLS link: h11 reads and writes it, a router finds who answers."""

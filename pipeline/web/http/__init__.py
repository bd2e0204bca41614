"""What the servers share: who may come in, bodies with limits, connections, the socket."""

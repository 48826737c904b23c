"""Several workers meet at the first one, as a framework's rendezvous would, and none is missing."""

import os
import socket
import time
from pathlib import Path

count, index = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
place = (os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]))
if index == 0:
    server = socket.create_server(("", place[1]))
    server.settimeout(240)
    peers = [server.accept()[0] for _ in range(count - 1)]
    met = sorted(int(peer.recv(16).decode()) for peer in peers)
    for peer in peers:
        peer.sendall(b"done")
    Path(os.environ["MODELOPS_OUTPUT_DIR"], "result").write_text(f"met {met}")
else:
    deadline = time.monotonic() + 240
    while True:
        try:
            connection = socket.create_connection(place, timeout=10)
            break
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
    connection.settimeout(240)
    connection.sendall(str(index).encode())
    assert connection.recv(4) == b"done"
print(f"worker {index} of {os.environ['MODELOPS_WORKER_HOSTS']} has met the others")

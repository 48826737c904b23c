"""What people have on their machines: Docker, with kind in it. Needs root: a Docker Engine of Debian runs for it."""

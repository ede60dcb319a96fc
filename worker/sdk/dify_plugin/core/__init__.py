"""What the SDK runs on."""
